"""Connections to other libraries; each module needs its library, and none is imported by asyncjobs itself."""
