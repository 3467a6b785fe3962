package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"imx"
	"imx/internal/build/take"
)

// baseInput is all that decides a base.
type baseInput struct {
	Format int           `json:"format"`
	Base   []imx.Package `json:"base"`
}

func baseKey(p imx.ImagePlan) imx.Digest {
	return imx.DigestJSON(baseInput{Format: format, Base: p.Base})
}

// baseEpoch is the time that bases are told: the plan's would make a base for each.
func baseEpoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// base returns the folder of the configured build root of p's Base packages, making it where it
// isn't there yet. That is a step of its own: images share it, and where it is new it is most of the work.
func (b *Builder) base(ctx context.Context, p imx.ImagePlan, s steps) (string, error) {
	s.say("waiting for the build root")
	s.name, s.begun = "build root "+p.Spec.Name, time.Now()
	key := baseKey(p)
	name := b.store.Path("base", key.Hex())
	if b.store.Has("base", key.Hex()) {
		s.reuse(len(p.Base))
		return name, nil
	}
	unlock, err := b.store.Lock(ctx, "base "+string(key))
	if err != nil {
		return "", err
	}
	defer unlock()
	if b.store.Has("base", key.Hex()) {
		s.reuse(len(p.Base))
		return name, nil
	}
	if err := b.makeBase(ctx, key, p, s); err != nil {
		s.end(imx.StepFailed, "") // the image's step says why
		return "", err
	}
	s.done(len(p.Base))
	return name, nil
}

// makeBase makes a build root and publishes it under its key.
func (b *Builder) makeBase(ctx context.Context, key imx.Digest, p imx.ImagePlan, s steps) error {
	if err := b.unpackAll(ctx, p.Base, s); err != nil {
		return err
	}
	dir, done, err := b.store.Scratch("base")
	if err != nil {
		return err
	}
	defer done()
	if err := b.bootstrap(ctx, dir, p, s); err != nil {
		return trouble(err, "making the build root")
	}
	return b.store.PublishTrees("base", map[string]string{key.Hex(): filepath.Join(dir, "upper")})
}

// bootstrap puts the packages' files into place, so that there is a dpkg to run, and lets that unpack
// what needs it and configure them all. No order of installing them one by one is without circles: dpkg
// is told to warn of dependencies only.
func (b *Builder) bootstrap(ctx context.Context, dir string, p imx.ImagePlan, s steps) error {
	upper, empty := filepath.Join(dir, "upper"), filepath.Join(dir, "empty")
	for _, name := range []string{upper, empty} {
		if err := errors.Join(os.Mkdir(name, 0o755), os.Chmod(name, 0o755)); err != nil { //nolint:gosec // file systems' roots
			return err
		}
	}
	if err := furnish(upper); err != nil {
		return err
	}
	_, left, err := b.place(ctx, upper, p.Base, placement{bootstrap: true}, s)
	if err != nil {
		return err
	}
	return b.enter(ctx, dir, empty, baseEpoch(), func(ctx context.Context, box *sandbox) error {
		d := &dpkg{box: box, steps: s, total: len(p.Base), unpacked: len(p.Base) - len(left), force: []string{"--force-depends"}}
		return inOrder(
			func() error { return b.handOver(ctx, d, left) },
			box.idle,
			func() error { return d.configure(ctx, "-a") },
		)
	})
}

// hosts is the build root's /etc/hosts: scripts ask for the machine's full name, which no name server
// can answer here, and write it into configuration. No image takes the file.
const hosts = "127.0.0.1 localhost\n127.0.1.1 build.localdomain " + hostName + "\n"

// furnish makes what must be there before the first package.
func furnish(upper string) error {
	x, err := openExtractor(upper)
	if err != nil {
		return err
	}
	defer x.close()
	for _, dir := range take.MergedDirs() {
		if err := errors.Join(x.mkdir("usr/"+dir), unix.Symlinkat("usr/"+dir, x.root, dir)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"info", "updates", "triggers", "alternatives"} {
		if err := x.mkdir(databaseDir + "/" + dir); err != nil {
			return err
		}
	}
	for _, dir := range take.ManualSections() {
		if err := x.mkdir(dir); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		databaseDir + "/status":            "",
		databaseDir + "/available":         "",
		databaseDir + "/info/format":       "1\n",
		databaseDir + "/triggers/File":     "",
		databaseDir + "/triggers/Unincorp": "",
		"etc/hosts":                        hosts,
	} {
		if err := x.write(name, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	// No script may start a service: this answers "forbidden by policy" to all who ask.
	return x.write("usr/sbin/policy-rc.d", 0o755, []byte("#!/bin/sh\nexit 101\n"))
}
