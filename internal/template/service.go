package template

import (
	"fmt"
	"slices"
	"strings"

	"imx"
)

// service checks what one service's settings say together, and its references.
func (c checker) service(i int) {
	s := &c.t.Services[i]
	w := top("service", i, s.Name)
	c.runs(w, s)
	c.ports(w, s)
	c.health(w, s)
	c.deploy(w, s)
	c.files(w, s.Files)
	c.mounts(w, s)
	c.routes(w, i)
	c.scale(w, s)
	for j := range s.Connect[:min(len(s.Connect), maxDeclared)] {
		c.connect(w, s, j)
	}
	if s.Name == "localhost" {
		c.r.fail(w.place, flaw{summary: "a service can't be named localhost: each instance calls itself that", hint: "choose another name"})
	}
	if s.Exclusive() && s.Replicas > 1 {
		c.r.fail(w.place.setting("replicas"), flaw{
			summary: fmt.Sprintf("%s: replicas is %d, and its volume %q has one holder", w.subject, s.Replicas, s.Volumes[0].Name),
			hint:    "write replicas = 1, or keep the state in another service",
		})
	}
}

func (c checker) runs(w where, s *imx.Spec) {
	c.firstArgument(w, s.Command)
	names := make([]string, len(c.t.Images))
	for i, im := range c.t.Images {
		names[i] = im.Name
	}
	i := slices.Index(names, s.Image)
	switch at := w.place.setting("image"); {
	case i < 0:
		c.r.fail(at, flaw{
			summary: w.subject + ": there is no image named " + quote(s.Image),
			hint:    known(s.Image, names, "image.", "declare image "+quote(s.Image)+" { ... }"),
		})
	case len(s.Command) == 0 && len(c.t.Images[i].Command) == 0 && !c.r.isBroken(w.place.setting("command")) &&
		!c.r.isBroken(place("").block("image", i).setting("command")):
		c.r.fail(w.place, flaw{
			summary: w.subject + ": there is nothing to run: neither it nor image " + quote(s.Image) + " has a command",
			hint:    `add command = ["/usr/bin/app"] to one of them`,
		})
	}
}

func (c checker) ports(w where, s *imx.Spec) {
	seen, numbers := once[string]{}, once[int]{}
	for j, p := range s.Ports {
		at := w.place.block("port", j)
		if before, ok := seen.first(p.Name, at); ok {
			c.r.fail(at, flaw{summary: w.subject + ": there are two ports named " + quote(p.Name), hint: c.again(before)})
		}
		at = at.setting("container")
		if c.r.isBroken(at) {
			continue
		}
		if before, ok := numbers.first(p.Container, at); ok {
			c.r.fail(at, flaw{summary: fmt.Sprintf("%s: two ports are port %d in the instance", w.subject, p.Container), hint: c.again(before)})
		}
	}
}

func portNames(s *imx.Spec) []string {
	names := make([]string, len(s.Ports))
	for i, p := range s.Ports {
		names[i] = p.Name
	}
	return names
}

func (c checker) connect(w where, s *imx.Spec, j int) {
	ref := s.Connect[j]
	at := w.place.setting("connect").part(index(j))
	i := slices.IndexFunc(c.t.Services, func(o imx.Spec) bool { return o.Name == ref.Service })
	first := slices.IndexFunc(s.Connect, func(o imx.PortRef) bool { return o.Service == ref.Service && o.Port == ref.Port })
	subject := w.subject + ": connect has service." + ref.Service + ".port." + ref.Port
	switch {
	case i < 0:
		var names []string
		for _, o := range c.t.Services {
			if o.Name != s.Name {
				names = append(names, o.Name)
			}
		}
		c.r.fail(at, flaw{summary: subject + ", and there is no service named " + quote(ref.Service), hint: known(ref.Service, names, "service.", "leave it out")})
	case ref.Service == s.Name:
		c.r.fail(at, flaw{summary: w.subject + ": it connects to itself", hint: "leave it out: an instance reaches its own ports as localhost"})
	case !slices.Contains(portNames(&c.t.Services[i]), ref.Port):
		c.r.fail(at, flaw{
			summary: subject + ", and service " + quote(ref.Service) + " has no port named " + quote(ref.Port),
			hint:    known(ref.Port, portNames(&c.t.Services[i]), "service."+ref.Service+".port.", "add the port to it"),
		})
	case first < j:
		c.r.fail(at, flaw{summary: subject + " twice", hint: "leave one of them out"})
	}
}

// mount is a writable folder of an instance.
type mount struct {
	path string
	at   place
}

// mounts checks that no writable folder stands in another, and that none hides a file.
func (c checker) mounts(w where, s *imx.Spec) {
	var mounts []mount
	names := once[string]{}
	for j, m := range s.Tmpfs {
		mounts = append(mounts, mount{m.Path, w.place.block("tmpfs", j)})
	}
	for j, v := range s.Volumes {
		at := w.place.block("volume", j)
		if before, ok := names.first(v.Name, at); ok {
			c.r.fail(at, flaw{summary: w.subject + ": there are two volumes named " + quote(v.Name), hint: c.again(before)})
		}
		if !c.r.isBroken(at.setting("path")) {
			mounts = append(mounts, mount{v.Path, at})
		}
	}
	for i, m := range mounts {
		for _, other := range mounts[:i] {
			if within(m.path, other.path) || within(other.path, m.path) {
				c.r.fail(m.at, flaw{
					summary: fmt.Sprintf("%s: the writable folders %s and %s overlap", w.subject, other.path, m.path),
					hint:    withPlace("keep one of them, or choose separate paths", c.r.at(other.at)),
				})
			}
		}
		for j, f := range s.Files {
			if within(f.Path, m.path) {
				c.r.fail(w.place.block("file", j), flaw{
					summary: fmt.Sprintf("%s: the file %s would be hidden by the writable folder %s", w.subject, f.Path, m.path),
					hint:    withPlace("choose another path for one of them", c.r.at(m.at)),
				})
			}
		}
	}
}

// within reports whether p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// checkUses checks that each service connects to the ports whose addresses it was told, by its
// own settings or by its image.
func (d *decoder) checkUses(t *imx.Template) {
	images := map[string]place{}
	for i, im := range t.Images {
		images[im.Name] = place("").block("image", i)
	}
	for i := range t.Services {
		s := &t.Services[i]
		w := top("service", i, s.Name)
		for _, u := range d.uses[w.place] {
			d.checkUse(w, s, u, "it")
		}
		for _, u := range d.uses[images[s.Image]] {
			d.checkUse(w, s, u, "its image "+quote(s.Image))
		}
	}
}

func (d *decoder) checkUse(w where, s *imx.Spec, u use, who string) {
	connects := slices.ContainsFunc(s.Connect, func(ref imx.PortRef) bool {
		return ref.Service == u.service && ref.Port == u.port
	})
	if u.service == s.Name || connects || d.r.isBroken(w.place.setting("connect")) {
		return
	}
	refs := make([]string, 0, len(s.Connect)+1)
	for _, ref := range append(slices.Clone(s.Connect), imx.PortRef{Service: u.service, Port: u.port}) {
		refs = append(refs, "service."+ref.Service+".port."+ref.Port)
	}
	d.r.failAt(u.at, flaw{
		summary: fmt.Sprintf("%s: %s uses the address of service.%s.port.%s and doesn't connect to it", w.subject, who, u.service, u.port),
		hint:    fmt.Sprintf("write connect = [%s] in %s", strings.Join(refs, ", "), w.subject),
	})
}
