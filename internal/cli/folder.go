package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"imx"
	"imx/internal/disk"
	"imx/internal/leak"
	"imx/internal/plan"
	"imx/internal/template"
)

// lockMode lets everybody who may read a repository read its lock file.
const lockMode = 0o644

// folder is a template's folder as it was read.
type folder struct {
	path     string
	template imx.Template
	lock     *imx.Lock // nil where there is no lock file yet
	damaged  bool      // the lock file can't be understood, though the template can
}

// readTemplate reads and checks the template of a folder, and returns what was read by name. Reading goes no further than the
// folder: file() can neither climb out by ".." nor through a symbolic link.
// Errors: Invalid with a diagnostic for each mistake; NotFound for a folder that isn't there.
func readTemplate(dir string) (imx.Template, map[string][]byte, error) {
	files, err := openRecorder(dir)
	if err != nil {
		return imx.Template{}, nil, folderError(dir, err)
	}
	defer files.close()
	t, said := template.Parse(files)
	if err := said.Err(); err != nil {
		return imx.Template{}, nil, atFolder(err, dir)
	}
	return t, files.texts, nil
}

// readFolder reads a folder's template and lock.
func readFolder(ctx context.Context, dir string) (folder, error) {
	t, read, err := readTemplate(dir)
	if err != nil {
		return folder{}, err
	}
	f := folder{path: dir, template: t}
	f.lock, err = readLock(dir, read)
	f.damaged = imx.KindOf(err) == imx.Invalid
	if err != nil && !f.damaged {
		return f, err
	}
	source, notice := gitSource(ctx, dir, read)
	f.template.Source = source
	f.template.Notices = append(f.template.Notices, notice...)
	return f, err
}

// readLock reads a folder's lock, nil where there is none, and adds its bytes to those that were read.
func readLock(dir string, read map[string][]byte) (*imx.Lock, error) {
	name := filepath.Join(dir, imx.LockFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, folderError(name, err)
	}
	read[imx.LockFile] = b
	lock, err := plan.ParseLock(b)
	if err != nil {
		e := imx.AsError(err)
		e.Message = strings.Replace(e.Message, imx.LockFile, name, 1)
		return nil, e
	}
	return &lock, nil
}

// request returns what to send to a server.
func (f folder) request() imx.PlanRequest {
	return imx.PlanRequest{Template: f.template, Lock: f.lock}
}

// writeLock puts a lock beside the templates, whole or not at all, and returns whether that
// changed anything. Where the file has the same bytes already, it isn't touched.
func (f folder) writeLock(lock imx.Lock) (bool, error) {
	name := filepath.Join(f.path, imx.LockFile)
	b := plan.FormatLock(lock)
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, b) {
		return false, nil
	}
	if err := disk.WriteWhole(name, b, lockMode); err != nil {
		return false, imx.Errorf(imx.Conflict, "%s can't be written: %w", name, disk.Reason(err)).
			WithHint("imx pins the chosen packages there: make the folder writable")
	}
	return true, nil
}

func folderError(dir string, err error) error {
	switch {
	case dir == "":
		return imx.Errorf(imx.Invalid, "the name of a folder is empty").WithHint("name one, or none at all for the one that you are in: .")
	case errors.Is(err, fs.ErrNotExist):
		return imx.Errorf(imx.NotFound, "there is no folder %s", dir).WithHint("imx init %s writes an example there", dir)
	case errors.Is(err, fs.ErrPermission):
		return imx.Errorf(imx.Refused, "%s may not be read: %w", dir, err)
	}
	return imx.Errorf(imx.Invalid, "%s can't be read: %w", dir, err)
}

// atFolder has an error's diagnostics name their files from where the command ran.
func atFolder(err error, dir string) error {
	e := imx.AsError(err)
	if len(e.Diagnostics) == 0 {
		return e
	}
	placed := &imx.Error{Kind: e.Kind, Message: e.Message, Hint: e.Hint, Diagnostics: inFolder(e.Diagnostics, dir)}
	if all := placed.Diagnostics.Err(); all != nil && isTheirs(e) {
		placed.Message = all.Error()
	}
	return placed
}

// isTheirs reports whether an error says nothing but its diagnostics.
func isTheirs(e *imx.Error) bool {
	all := e.Diagnostics.Err()
	return all != nil && e.Message == all.Error()
}

// inFolder puts the folder in front of the files that diagnostics speak of, so that a person or an
// editor can open them.
func inFolder(ds imx.Diagnostics, dir string) imx.Diagnostics {
	placed := named(ds, dir)
	lines := sourceLines{}
	for i := range placed {
		if line := lines.at(placed[i].At); line != "" {
			placed[i].Source = line
		}
	}
	return placed
}

// named puts the folder in front of the files that diagnostics speak of, and leaves what they quote. What is said of
// no file is said of the folder, which needs no name where the command runs in it.
func named(ds imx.Diagnostics, dir string) imx.Diagnostics {
	placed := slices.Clone(ds)
	for i, d := range placed {
		if d.At.File != "" || dir != "." {
			placed[i].At.File = filepath.Join(dir, d.At.File)
		}
	}
	return placed
}

// sourceLines are the texts of the files that diagnostics speak of, each read once.
type sourceLines map[string]leak.Text

// at returns the line that a server's diagnostic speaks of: it knows places, but not the text. It is
// empty where the file can't be read any more, or nobody would read the line. Secrets in it are blotted out.
func (s sourceLines) at(at imx.Pos) string {
	text, ok := s[at.File]
	if !ok && at.File != "" {
		if b, err := os.ReadFile(at.File); err == nil {
			text = leak.New().Read(at.File, b)
		}
		s[at.File] = text
	}
	return text.Line(at.Line)
}

func baseName(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		return filepath.Base(full)
	}
	return filepath.Base(dir)
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	out, err := cmd.Output()
	return string(out), err
}

// gitNotice tells of an unforeseen answer of Git, nil for the expected ones.
func gitNotice(err error) imx.Diagnostics {
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return nil
	}
	said := string(failed.Stderr)
	if !strings.Contains(said, "dubious ownership") {
		return nil
	}
	return imx.Diagnostics{{
		Severity: imx.SeverityNotice,
		Summary:  "Git doesn't trust this folder, which belongs to another user: the plan names no commit",
		Hint:     "run imx as the folder's owner, or name the folder in Git's safe.directory",
	}}
}
