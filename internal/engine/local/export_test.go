package local

import "io"

// FailWrites makes the engine's records fail to be written.
func (e *Engine) FailWrites(err error) {
	e.store.write = func(string, []byte) error { return err }
	e.roots.store.write = e.store.write
}

// Parts that tests look at by themselves.
var (
	Listening = listening
	Rotate    = rotate
)

// Resolve follows the links of a path in an image.
func Resolve(image, path string) (string, error) { return tree(image).resolve(path) }

// Identity is who a process is.
type Identity = identity

// ResolveUser is who a user is by an image's passwd and group.
func ResolveUser(passwd, group []string, user string) (Identity, error) {
	return parseAccounts(passwd, group).resolve(user)
}

// PrintLog turns conmon's log into what a reader sees.
func PrintLog(w io.Writer, r io.Reader) error {
	p := &logPrinter{out: w, partial: map[string][]byte{}}
	return p.print(r)
}
