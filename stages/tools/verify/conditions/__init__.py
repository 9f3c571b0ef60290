"""What a receiver asks of a result beside its reproduction."""
