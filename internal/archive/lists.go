package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/ulikunitz/xz"
	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/deb"
)

// maxList bounds a Packages file, whatever its InRelease says; Debian's largest has 60 MB.
const maxList = 1 << 30

// list is one Packages file of a suite.
type list struct {
	*suite
	path  string // below the suite's folder, without the ending of a compression
	plain deb.ReleaseFile
}

// allLists returns the packages of every component of the suites, brought and verified where they
// aren't in the cache.
func (f *fetch) allLists(ctx context.Context, suites []suite) ([][]deb.Package, error) {
	var wanted []list
	for i := range suites {
		for _, component := range suites[i].components {
			l := list{suite: &suites[i], path: component + "/binary-" + f.arch + "/Packages"}
			var ok bool
			if l.plain, ok = l.release.SHA256[l.path]; !ok {
				return nil, f.named(l.suite, l.inReleasePath(), imx.Errorf(imx.NotFound, "it lists no %s", l.path).
					WithHint("the suite has the components %q and the architectures %q", l.release.Components, l.release.Architectures))
			}
			wanted = append(wanted, l)
		}
	}
	missing, packages, err := f.loadAll(ctx, wanted)
	if err != nil {
		return nil, err
	}
	if missing {
		if err := f.prune(); err != nil {
			return nil, fmt.Errorf("removing old archive indices: %w", err)
		}
	}
	return packages, nil
}

// loadAll loads lists at once, and reports whether any of them wasn't in the cache.
func (f *fetch) loadAll(ctx context.Context, wanted []list) (missing bool, _ [][]deb.Package, _ error) {
	f.reading.RLock()
	defer f.reading.RUnlock()
	packages := make([][]deb.Package, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range wanted {
		missing = missing || !f.lists.Has(l.plain.Digest)
		group.Go(func() error {
			var err error
			packages[i], err = f.load(ctx, l)
			return err
		})
	}
	return missing, packages, group.Wait()
}

// load parses a list from the cache. One that isn't there, or is damaged, is brought first.
func (f *fetch) load(ctx context.Context, l list) ([]deb.Package, error) {
	packages, err := f.parse(l)
	if err == nil {
		return packages, nil
	}
	if err := f.bringOnce(ctx, l); err != nil {
		return nil, f.named(l.suite, l.dists(l.path), err)
	}
	if packages, err = f.parse(l); err != nil {
		return nil, f.named(l.suite, l.dists(l.path), err)
	}
	return packages, nil
}

func (s *suite) dists(path string) string { return "dists/" + s.suite + "/" + path }

func (f *fetch) parse(l list) ([]deb.Package, error) {
	r, err := f.lists.Reader(l.plain.Digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return deb.ParsePackages(r, f.decl.Name, l.suite.suite)
}

// bringOnce brings a list, or waits for whoever is bringing the same bytes already, for another
// suite or another fetch. If that one is called off, it brings the list itself.
func (f *fetch) bringOnce(ctx context.Context, l list) error {
	for {
		_, err, _ := f.bringing.Do(string(l.plain.Digest), func() (any, error) {
			err := f.bring(ctx, l)
			if err != nil && ctx.Err() != nil {
				return nil, ctx.Err() // whatever it looked like: a program that is ended midway gives half a list
			}
			return nil, err
		})
		calledOff := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if !calledOff || ctx.Err() != nil {
			return err
		}
	}
}

// bring downloads a list in the best form that the suite has, checks it, decompresses it into the
// cache and checks that. Nothing is decompressed before its digest was found right.
func (f *fetch) bring(ctx context.Context, l list) error {
	for _, ending := range []string{".xz", ".gz", ""} {
		packed, ok := l.release.SHA256[l.path+ending]
		if !ok {
			continue
		}
		if packed.Size > maxList || l.plain.Size > maxList {
			return imx.Errorf(imx.Refused, "has %d bytes, more than the %d that a list may have", max(packed.Size, l.plain.Size), maxList)
		}
		step := "fetch list " + l.suite.suite
		f.report(imx.Progress{Step: step, Status: imx.StepRunning, Message: l.path + ending, Total: packed.Size, Unit: "bytes"})
		if err := f.downloadList(ctx, l, ending, packed); err != nil {
			return err
		}
		if ending != "" {
			if err := f.unpack(ctx, l, ending, packed.Digest); err != nil {
				return err
			}
		}
		f.report(imx.Progress{Step: step, Status: imx.StepDone, Message: l.path + ending, Done: packed.Size, Total: packed.Size, Unit: "bytes"})
		return nil
	}
	return imx.Errorf(imx.NotFound, "the suite has it in no form that imx reads (.xz, .gz or plain)")
}

// downloadList stores one form of a list. A path that names the digest comes first, where the
// suite promises it: it stays right while the mirror is being updated.
func (f *fetch) downloadList(ctx context.Context, l list, ending string, want deb.ReleaseFile) error {
	paths := []string{l.dists(l.path + ending)}
	if l.release.AcquireByHash {
		byHash := l.dists(l.path[:len(l.path)-len("Packages")] + "by-hash/SHA256/" + want.Digest.Hex())
		paths = []string{byHash, paths[0]}
	}
	var err error
	for _, path := range paths {
		req := request{root: l.from.root, path: path, size: want.Size, limit: want.Size}
		err = f.get(ctx, req, func(r *response) error {
			_, _, err := f.lists.Put(r, want.Digest)
			return mismatch(err)
		})
		if imx.KindOf(err) != imx.NotFound {
			return err
		}
	}
	return err
}

// mismatch gives the blob store's refusal of a wrong digest a hint.
func mismatch(err error) error {
	var known *imx.Error
	if errors.As(err, &known) && known.Kind == imx.Refused && known.Hint == "" {
		return imx.Errorf(imx.Refused, "%w", err).WithHint(hintMismatch)
	}
	return err
}

func (f *fetch) unpack(ctx context.Context, l list, ending string, packed imx.Digest) error {
	r, err := f.lists.Reader(packed)
	if err != nil {
		return err
	}
	defer r.Close()
	unpack := unxz
	if ending == ".gz" {
		unpack = gunzip
	}
	err = unpack(ctx, r, func(plain io.Reader) error {
		exact := &body{r: io.NopCloser(plain), size: l.plain.Size, limit: l.plain.Size, alive: func() {}, explain: func(err error) error { return err }}
		_, _, err := f.lists.Put(exact, l.plain.Digest)
		return err
	})
	if err != nil {
		return fmt.Errorf("decompressed from %s: %w", ending, err)
	}
	if packed == l.plain.Digest {
		return nil
	}
	err = f.lists.Delete(packed)
	if imx.KindOf(err) == imx.NotFound {
		return nil // another list with the same bytes was unpacked meanwhile
	}
	return err
}

func gunzip(_ context.Context, r io.Reader, use func(io.Reader) error) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	return use(z)
}

// unxz decompresses with the xz program, which takes half of the time that Go takes, and with Go
// where there is none.
func unxz(ctx context.Context, r io.Reader, use func(io.Reader) error) error {
	program, err := exec.LookPath("xz")
	if err != nil {
		return unxzGo(r, use)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the program when use has given up
	cmd := exec.CommandContext(ctx, program, "--decompress", "--stdout", "--memlimit-decompress=1GiB")
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stderr = r, &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := use(out); err != nil {
		cancel()
		_ = cmd.Wait() // use's error is the one to tell
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("xz: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	return nil
}

func unxzGo(r io.Reader, use func(io.Reader) error) error {
	z, err := xz.NewReader(r)
	if err != nil {
		return err
	}
	return use(z)
}

// namedDigests returns the digests that a kept InRelease lists. It verified when it was kept, and
// here nothing but what is deleted from the cache hangs on it.
func namedDigests(raw []byte) []imx.Digest {
	var all []imx.Digest
	for line := range bytes.Lines(raw) {
		words := bytes.Fields(line)
		if len(words) != 3 {
			continue
		}
		if d, err := imx.ParseDigest("sha256:" + string(words[0])); err == nil {
			all = append(all, d)
		}
	}
	return all
}
