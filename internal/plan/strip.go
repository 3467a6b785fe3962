package plan

import (
	"maps"
	"slices"
	"strings"

	"imx"
)

// A plan says what there will be, not where in which file somebody wrote it: moving a block
// about must not change its digest. So positions go, and file contents, which digests stand for.

// strippedImage returns a copy of the spec as a plan holds it.
func strippedImage(spec imx.ImageSpec) imx.ImageSpec {
	spec.At, spec.PackagesAt = imx.Pos{}, nil
	spec.From, spec.Packages = slices.Clone(spec.From), slices.Clone(spec.Packages)
	spec.Files = strippedFiles(spec.Files)
	spec.Directories = slices.Clone(spec.Directories)
	for i := range spec.Directories {
		spec.Directories[i].At = imx.Pos{}
	}
	spec.Without = slices.Clone(spec.Without)
	spec.Command = slices.Clone(spec.Command)
	spec.Environment = maps.Clone(spec.Environment)
	return spec
}

// strippedServices returns copies of the services as a plan holds them, sorted by name.
func strippedServices(services []imx.Spec) []imx.Spec {
	out := make([]imx.Spec, 0, len(services))
	for _, s := range services {
		out = append(out, strippedService(s))
	}
	slices.SortFunc(out, func(a, b imx.Spec) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func strippedService(s imx.Spec) imx.Spec {
	s.At = imx.Pos{}
	s.Files = strippedFiles(s.Files)
	s.Tmpfs = slices.Clone(s.Tmpfs)
	for i := range s.Tmpfs {
		s.Tmpfs[i].At = imx.Pos{}
	}
	s.Volumes = slices.Clone(s.Volumes)
	for i := range s.Volumes {
		s.Volumes[i].At = imx.Pos{}
	}
	s.Ports = slices.Clone(s.Ports)
	for i := range s.Ports {
		s.Ports[i].At = imx.Pos{}
	}
	s.Routes = slices.Clone(s.Routes)
	for i := range s.Routes {
		s.Routes[i].At = imx.Pos{}
	}
	s.Connect = slices.Clone(s.Connect)
	for i := range s.Connect {
		s.Connect[i].At = imx.Pos{}
	}
	s.Scale = strippedScale(s.Scale)
	s.Deploy = strippedDeploy(s.Deploy)
	return s
}

func strippedDeploy(how *imx.Deploy) *imx.Deploy {
	if how == nil {
		return nil
	}
	d := *how
	d.At = imx.Pos{}
	d.Steps = slices.Clone(d.Steps)
	for i := range d.Steps {
		d.Steps[i].At = imx.Pos{}
	}
	if d.Judge != nil {
		m := *d.Judge
		m.At = imx.Pos{}
		d.Judge = &m
	}
	return &d
}

// strippedIngresses returns copies of the ingresses as a plan holds them, sorted by name; nil for none.
func strippedIngresses(all []imx.Ingress) []imx.Ingress {
	all = slices.Clone(all)
	for i := range all {
		all[i].At = imx.Pos{}
		all[i].Certificates = slices.Clone(all[i].Certificates)
		for j := range all[i].Certificates {
			all[i].Certificates[j].At = imx.Pos{}
		}
	}
	slices.SortFunc(all, func(a, b imx.Ingress) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func strippedFiles(files []imx.File) []imx.File {
	files = slices.Clone(files)
	for i, f := range files {
		if f.Digest == "" {
			files[i].Digest, files[i].Size = imx.DigestBytes(f.Content), int64(len(f.Content))
		}
		files[i].Content, files[i].At = nil, imx.Pos{}
	}
	return files
}

func strippedScale(c *imx.Scaling) *imx.Scaling {
	if c == nil {
		return nil
	}
	out := *c
	out.Schedules = slices.Clone(c.Schedules)
	for i := range out.Schedules {
		out.Schedules[i].At = imx.Pos{}
	}
	return &out
}
