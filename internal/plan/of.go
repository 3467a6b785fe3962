package plan

import (
	"slices"
	"strings"

	"imx"
)

// Of reports whether a plan is one of a template: its services, ingresses and images are those that the template describes, whatever was chosen for them.
// What a file has is its content, whatever digest is written beside it. Where the template comes from, and from which indexes was chosen, it doesn't ask.
func Of(p imx.Plan, t imx.Template) bool {
	var described, planned []imx.ImageSpec
	for _, spec := range t.Images {
		spec.Files = asContained(spec.Files)
		described = append(described, strippedImage(spec))
	}
	services := slices.Clone(t.Services)
	for i := range services {
		services[i].Files = asContained(services[i].Files)
	}
	slices.SortFunc(described, func(a, b imx.ImageSpec) int { return strings.Compare(a.Name, b.Name) })
	for _, ip := range p.Images {
		planned = append(planned, strippedImage(ip.Spec))
	}
	return alike(planned, described) && alike(strippedServices(p.Services), strippedServices(services)) &&
		alike(strippedIngresses(p.Ingresses), strippedIngresses(t.Ingresses))
}

// asContained returns files without their digests, which are made of their contents then.
func asContained(files []imx.File) []imx.File {
	files = slices.Clone(files)
	for i := range files {
		files[i].Digest, files[i].Size = "", 0
	}
	return files
}

// alike reports whether two lists have the same, as a plan's digest sees it.
func alike[T any](a, b []T) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool { return imx.DigestJSON(x) == imx.DigestJSON(y) })
}
