"""Where code stands: modules that define jobs, their origin, importing them."""
