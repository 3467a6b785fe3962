package ingress

// Len is how many clients are remembered.
func (r *Rates) Len() int { return len(r.buckets) }
