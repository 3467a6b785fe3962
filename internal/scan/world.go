package scan

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"imx"
	"imx/internal/inventory"
	"imx/internal/vuln"
)

// world is what there was at the moment that a scan asks about.
type world struct {
	req     imx.ScanRequest
	state   *imx.State
	images  []imx.ImageView
	running bool           // what runs is looked at, too
	pids    map[string]int // of the instances that do
	pleas   []vuln.Plea
}

func (s *Scanner) world(ctx context.Context, req imx.ScanRequest) (*world, error) {
	w := &world{req: req}
	var err error
	if w.state, err = s.cfg.Server.State(req.At); err != nil {
		return nil, err
	}
	w.images, err = s.cfg.Server.Images(ctx, req.At)
	return w, err
}

// choose returns the images that a request is about, the newest first.
func (w *world) choose(req imx.ScanRequest) ([]imx.ImageView, error) {
	switch {
	case req.Subject != "":
		if in, ok := w.state.Instances[req.Subject]; ok {
			return w.those(func(v imx.ImageView) bool { return v.Digest == in.Image }), nil
		}
		v, err := inventory.Find(w.images, w.state.Services, req.Subject)
		return []imx.ImageView{v}, err
	case req.All || req.ID != "":
		return w.images, nil
	}
	running := map[imx.Digest]bool{}
	for _, in := range w.state.Instances {
		running[in.Image] = running[in.Image] || in.Phase != imx.Ended
	}
	return w.those(func(v imx.ImageView) bool { return running[v.Digest] || len(v.RunBy) > 0 }), nil
}

func (w *world) those(wanted func(imx.ImageView) bool) []imx.ImageView {
	return slices.DeleteFunc(slices.Clone(w.images), func(v imx.ImageView) bool { return !wanted(v) })
}

// releases names the releases that were made of an image; those with traffic first, then the newest.
func (w *world) releases(image imx.Digest) []string {
	type named struct {
		name    string
		current bool
		number  int
	}
	var found []named
	for _, name := range slices.Sorted(maps.Keys(w.state.Services)) {
		service := w.state.Services[name]
		for _, r := range service.Releases {
			if r.Image.Digest == image {
				found = append(found, named{fmt.Sprintf("%s-%d", name, r.Number), r.Number == service.Current && !service.Destroyed, r.Number})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b named) int {
		if a.current != b.current && a.current {
			return -1
		} else if a.current != b.current {
			return 1
		}
		return cmp.Compare(b.number, a.number)
	})
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.name
	}
	return names
}

// instances are those that ran an image; of a request about one instance, that one.
func (w *world) instances(image imx.Digest) []imx.InstanceScan {
	var all []imx.InstanceScan
	_, alone := w.state.Instances[w.req.Subject]
	for _, id := range slices.Sorted(maps.Keys(w.state.Instances)) {
		in := w.state.Instances[id]
		if in.Image == image && in.Phase != imx.Ended && (!alone || id == w.req.Subject) {
			all = append(all, imx.InstanceScan{Instance: id})
		}
	}
	return all
}

// patch is the command that brings fixed versions, where any is known.
func (w *world) patch(one imx.ImageScan) string {
	fixable := slices.ContainsFunc(one.Vulnerabilities, func(v imx.Vulnerability) bool { return v.Excused == nil && v.Package.Fixed != "" })
	if !fixable {
		return ""
	}
	folder := ""
	for _, service := range w.state.Services {
		for _, r := range service.Releases {
			if r.Image.Digest == one.Image && r.Source.Folder != "" && (folder == "" || r.Source.Folder < folder) {
				folder = r.Source.Folder
			}
		}
	}
	if folder == "" {
		return "imx plan --update && imx build"
	}
	return strings.TrimSpace(fmt.Sprintf("imx plan --update %[1]s && imx apply %[1]s", folder))
}
