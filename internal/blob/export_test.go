package blob

import "os"

// The steps of Put, by the names that tests fail them by.
const (
	StepCreate  = "create"
	StepWrite   = "write"
	StepSync    = "sync"
	StepFolder  = "sync-root" // of the folder that a new one of the 256 is made in
	StepRename  = "rename"
	StepSyncDir = "sync-dir"
)

// Steps lists them in their order.
func Steps() []string {
	return []string{StepCreate, StepWrite, StepSync, StepFolder, StepRename, StepSyncDir}
}

// Fail makes one step of every later Put on s fail with err; a failing write takes half of the bytes first.
func Fail(s *Store, step string, err error) {
	switch step {
	case StepCreate:
		s.ops.create = func(string) (*os.File, error) { return nil, err }
	case StepWrite:
		s.ops.write = func(f *os.File, p []byte) (int, error) {
			n, _ := f.Write(p[:len(p)/2])
			return n, err
		}
	case StepSync:
		s.ops.sync = func(*os.File) error { return err }
	case StepRename:
		s.ops.rename = func(string, string) error { return err }
	case StepFolder, StepSyncDir:
		s.ops.syncDir = func(dir string) error {
			if (dir == s.root()) == (step == StepFolder) {
				return err
			}
			return nil
		}
	}
}
