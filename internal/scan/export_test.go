package scan

import "context"

// Look does what Run does when it is poked.
func (s *Scanner) Look(ctx context.Context) error { return s.restate(ctx) }

// FetchDue is what Run does at each tick before it looks.
func (s *Scanner) FetchDue(ctx context.Context) { s.fetchDue(ctx) }

// Renew is how old a scan that is evidence may become.
const Renew = renew
