package eventlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"imx"
)

// Hold keeps every other process from opening the log, whatever its state, until release is called:
// for work on what belongs to a log that may be damaged. Errors: Conflict as for Open; NotFound
// where there is no log.
func Hold(dir string) (release func() error, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, imx.Errorf(imx.NotFound, "there is no log in %s", dir)
	}
	f, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

// lockDir makes this process the only one that appends to the log, until the file is closed or
// the process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, trouble("locking the log", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 32)) // unread, the holder is just not named
		return nil, errors.Join(imx.Errorf(imx.Conflict, "the log in %s is in use by process %s",
			dir, strings.TrimSpace(string(holder))).WithHint("only one server may use it: stop that one first"), f.Close())
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("%d\n", os.Getpid())))
	}
	if err != nil {
		return nil, errors.Join(trouble("locking the log", err), f.Close())
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
