"""What connects asyncjobs to other libraries; each module needs its own, and nothing here is imported for you."""
