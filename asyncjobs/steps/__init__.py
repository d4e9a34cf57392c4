"""Steps as they are declared: their code, their cursors, what is recorded of one."""
