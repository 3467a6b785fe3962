package scan

import "context"

// Look does what Run does when it is poked.
func (s *Scanner) Look(ctx context.Context) error { return s.restate(ctx) }

// Renew is how old a scan that is evidence may become.
const Renew = renew
