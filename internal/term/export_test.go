package term

// Coloured returns an Ink that colours, whatever reads it.
func Coloured() Ink { return Ink{on: true} }
