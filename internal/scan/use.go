package scan

import (
	"context"
	"slices"

	"imx"
	"imx/internal/mapped"
)

// maxUses is how many files of one package are told: to know that it is used, one is enough.
const maxUses = 8

// use looks at what the processes of the image's instances have mapped, and tells it of each vulnerability's package.
// Nothing can be said of a moment that is past.
func (s *Scanner) use(ctx context.Context, w *world, one *imx.ImageScan) error {
	if len(w.pids) == 0 || len(one.Instances) == 0 {
		return nil
	}
	d, err := s.cfg.Server.Image(ctx, string(one.Image))
	if err != nil {
		return err
	}
	owners := map[string]string{} // the package of each path; "" for what no package carries
	for _, p := range d.Inventory.Paths {
		if p.Kind == imx.PathFile {
			owners[p.Path] = p.Package
		}
	}
	used := map[string][]imx.Use{} // by package, and by file
	for i := range one.Instances {
		in := &one.Instances[i]
		pid, ok := w.pids[in.Instance]
		if !ok {
			continue // it ended meanwhile, or hasn't begun
		}
		processes, err := mapped.Under(pid)
		if kind := imx.KindOf(err); kind == imx.NotFound || kind == imx.Refused {
			continue // it ended meanwhile
		}
		if err != nil {
			return err
		}
		in.Processes = len(processes)
		sortFiles(in, processes, owners, used)
	}
	for i := range one.Vulnerabilities {
		v := &one.Vulnerabilities[i]
		for _, name := range slices.Concat(v.Package.Binaries, v.Package.Files) {
			v.Used = append(v.Used, used[name]...)
		}
		v.Used = v.Used[:min(len(v.Used), maxUses)]
	}
	return nil
}

// sortFiles puts each mapped file with the package that carries it, or among the foreign ones. Of what isn't the
// image's, only what may run is told: data that lies on volumes and in memory is no surprise.
func sortFiles(in *imx.InstanceScan, processes []mapped.Process, owners map[string]string, used map[string][]imx.Use) {
	for _, p := range processes {
		for _, f := range p.Files {
			use := imx.Use{Instance: in.Instance, Process: p.Name, Pid: p.Pid, Path: f.Path}
			owner, known := owners[f.Path]
			switch {
			case (!known || f.Gone) && f.Runs:
				in.Foreign = append(in.Foreign, use)
			case known:
				note(used, f.Path, use)
				note(used, owner, use)
			}
		}
	}
}

// note adds a use, unless another process of the instance has the same file. What has no name is nobody's.
func note(used map[string][]imx.Use, name string, use imx.Use) {
	same := func(u imx.Use) bool { return u.Path == use.Path && u.Instance == use.Instance }
	if name != "" && !slices.ContainsFunc(used[name], same) {
		used[name] = append(used[name], use)
	}
}
