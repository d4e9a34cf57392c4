"""Claims: when, from which queues, from where on."""
