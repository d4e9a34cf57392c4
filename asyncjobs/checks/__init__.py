"""Checks of what users give: limits, names, texts, calls; each refusal is one sentence with its remedy."""
