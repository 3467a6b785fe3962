package front

// ConfineCalls is what a confined process does to itself.
func ConfineCalls() error { return confineCalls() }
