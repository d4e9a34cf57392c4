"""What is given, checked: limits, names, texts, calls; each refusal one sentence with its remedy."""
