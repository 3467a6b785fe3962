package registry

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrCrash is what every step fails with after the moment of a crash.
var ErrCrash = errors.New("crash")

// CrashAfter lets n steps of r's disk work succeed and fails all that come later, as if the machine
// had stopped there. It returns how many were asked for, as a function.
func CrashAfter(r *Registry, n int64) (steps func() int64) {
	var count atomic.Int64
	alive := func() bool { return count.Add(1) <= n }
	disk := r.ops
	r.ops = ops{
		stage: func(dir string, content []byte) (string, error) {
			if !alive() {
				return "", ErrCrash
			}
			return disk.stage(dir, content)
		},
		create: func(path string) error {
			if !alive() {
				return ErrCrash
			}
			return disk.create(path)
		},
		link: func(from, to string) error {
			if !alive() {
				return ErrCrash
			}
			return disk.link(from, to)
		},
		rename: func(from, to string) error {
			if !alive() {
				return ErrCrash
			}
			return disk.rename(from, to)
		},
		syncDir: func(dir string) error {
			if !alive() {
				return ErrCrash
			}
			return disk.syncDir(dir)
		},
		write: func(f *os.File, p []byte) (int, error) {
			if !alive() {
				n, _ := f.Write(p[:len(p)/2])
				return n, ErrCrash
			}
			return disk.write(f, p)
		},
	}
	return count.Load
}

// Limit makes r's limits smaller or larger: of a blob in bytes, of uploads at once, and how long one may rest.
func Limit(r *Registry, blob int64, uploads int, idle time.Duration) {
	r.limits = limits{blob: blob, uploads: uploads, owner: uploads, strangers: uploads, address: uploads, idle: idle, again: time.Second}
}

// Share makes r's shares of the uploads others: of one owner of tokens, and of one address of those who have none.
func Share(r *Registry, owner, address int) { r.limits.owner, r.limits.address = owner, address }

// LimitNames makes what an owner may bring without a quota other numbers: of manifests, of tags and of blobs.
func LimitNames(r *Registry, manifests, tags, blobs int) {
	r.usage.unsaid = use{manifests: manifests, tags: tags, blobs: blobs}
}

// FillDisk makes each step of the kind find the disk full.
func FillDisk(r *Registry, step string) {
	full := &os.PathError{Op: step, Path: "file", Err: syscall.ENOSPC}
	switch step {
	case "stage":
		r.ops.stage = func(string, []byte) (string, error) { return "", full }
		r.ops.create = func(string) error { return full }
	case "rename":
		r.ops.rename = func(string, string) error { return full }
	case "sync-dir":
		r.ops.syncDir = func(string) error { return full }
	case "write":
		r.ops.write = func(f *os.File, p []byte) (int, error) {
			n, _ := f.Write(p[:len(p)/2])
			return n, full
		}
	}
}

// LimitAudit makes a file of each trail smaller, and the lines of an hour that differ fewer: of one principal and of all.
func LimitAudit(a *Audit, most int64, each, all int) {
	for _, t := range []*trail{a.given, a.refused} {
		t.most, t.each, t.all = most, each, all
	}
}
