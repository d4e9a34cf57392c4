"""Claims: when, from which queues, and from which position on."""
