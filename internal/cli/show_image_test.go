package cli_test

// What `imx image` prints for a small web server's image, its patched successor, and one that was
// pushed from elsewhere.

import (
	"strings"
	"testing"

	"charm.land/lipgloss/v2"

	"imx"
	"imx/internal/cli"
	"imx/internal/term"
)

func pkg(name, version, depends string) imx.InventoryPackage {
	return imx.InventoryPackage{
		Package: imx.Package{Name: name, Version: version, Architecture: "amd64", Digest: digest(name + version)},
		Source:  name, SourceVersion: version, Depends: depends,
	}
}

func file(path, owner string, size int64) imx.InventoryPath {
	return imx.InventoryPath{
		Path: path, Kind: imx.PathFile, Mode: 0o644, Size: size, Digest: digest(path), Origin: imx.OriginPackage, Package: owner,
	}
}

func program(path, owner string, size int64) imx.InventoryPath {
	p := file(path, owner, size)
	p.Mode = 0o755
	return p
}

func of(origin imx.PathOrigin, p imx.InventoryPath) imx.InventoryPath {
	p.Origin, p.Package = origin, ""
	return p
}

func folder(path string, mode imx.Mode) imx.InventoryPath {
	return imx.InventoryPath{Path: path, Kind: imx.PathDirectory, Mode: mode, Origin: imx.OriginFrame}
}

func link(path, target string, origin imx.PathOrigin) imx.InventoryPath {
	return imx.InventoryPath{Path: path, Kind: imx.PathLink, Mode: 0o777, Target: target, Origin: origin}
}

// webImage is an image of nginx-light, the way Debian's packages of it depend on each other.
func webImage() imx.ImageDetail {
	light, server, common := pkg("nginx-light", "1.22.1-9", "nginx (= 1.22.1-9), libnginx-mod-http-echo"), pkg("nginx", "1.22.1-9", "libc6 (>= 2.34), libssl3 (>= 3.0.0), nginx-common"),
		pkg("nginx-common", "1.22.1-9", "")
	light.Asked, light.Source, server.Source, common.Source = true, "nginx", "nginx", "nginx"
	light.Description = "nginx web/proxy server (basic version)"
	echo := pkg("libnginx-mod-http-echo", "1:0.63-4+b1", "libc6 (>= 2.14), nginx-abi-1.22.1-7")
	echo.Source, echo.SourceVersion, server.Provides = "libnginx-mod-http-echo", "1:0.63-4", "nginx-abi-1.22.1-7"
	ssl := pkg("libssl3", "3.0.14-1", "libc6 (>= 2.34)")
	ssl.Source, ssl.Description = "openssl", "Secure Sockets Layer toolkit - shared libraries"
	nginx, ping := program("/usr/sbin/nginx", "nginx", 1<<20), program("/usr/bin/ping", "nginx-common", 90_000)
	nginx.Listens, ping.Mode, ping.Capabilities = true, 0o4755, "0100000200200000"
	state := folder("/var/lib/nginx", 0o755)
	state.UID, state.GID, state.Origin = 33, 34, imx.OriginGenerated
	return imx.ImageDetail{
		ImageView: imx.ImageView{
			Image: imx.Image{Name: "web", Digest: digest("web 1"), Plan: digest("plan 1"), Size: 4_100_000, Files: 9, Packages: 6, Inventory: digest("inventory")},
			Built: at("2026-05-01 09:00:00"),
			RunBy: []imx.ImageUse{{Service: "web", Release: 3, Current: true, Ports: []imx.Port{{Name: "http", Container: 8080, Publish: 80}}}, {Service: "shop", Release: 2}},
		},
		Configuration: imx.ImageConfiguration{
			Architecture: "amd64", Command: []string{"/usr/sbin/nginx", "-g", "daemon off;"}, User: "33:34", Environment: []string{"PATH=/usr/sbin:/usr/bin"},
			StopSignal: "SIGQUIT", Ports: []string{"80/tcp"},
		},
		Layers: []imx.ImageLayer{
			{Digest: digest("layer 1"), Size: 4_000_000, MediaType: "application/vnd.oci.image.layer.v1.tar+zstd", Says: "imx: packages depended upon"},
			{Digest: digest("layer 2"), Size: 100_000, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Says: "imx: files of the template"},
		},
		Inventory: imx.Inventory{
			Version:  imx.InventoryVersion,
			Packages: []imx.InventoryPackage{pkg("libc6", "2.36-9", ""), echo, ssl, server, common, light},
			Paths: []imx.InventoryPath{
				link("/bin", "usr/bin", imx.OriginFrame), of(imx.OriginGenerated, file("/etc/ld.so.cache", "", 9000)),
				file("/etc/nginx/mime.types", "nginx-common", 3000), of(imx.OriginTemplate, file("/etc/nginx/nginx.conf", "", 700)),
				link("/lib", "usr/lib", imx.OriginFrame), folder("/tmp", 0o1777), ping, file("/usr/lib/libc.so.6", "libc6", 1_900_000),
				file("/usr/lib/libssl.so.3", "libssl3", 700_000), link("/usr/lib/libssl.so", "libssl.so.3", imx.OriginGenerated),
				file("/usr/lib/nginx/echo.so", "libnginx-mod-http-echo", 60_000), nginx, state,
			},
			Users: []imx.InventoryUser{{Name: "root", Home: "/root"}, {Name: "www-data", UID: 33, GID: 34, Home: "/var/www"}},
		},
	}
}

// patched is the same image with a newer openssl and a few other changes.
func patched() imx.ImageDetail {
	d := webImage()
	d.Digest, d.Size, d.RunBy, d.Configuration.User = digest("web 2"), 4_200_000, nil, "0:0"
	d.Configuration.Environment = append(d.Configuration.Environment, "DEBUG=1")
	inv := &d.Inventory
	inv.Packages = inv.Packages[:5]
	inv.Packages[2].Version, inv.Packages[2].Digest = "3.0.15-1", digest("new libssl3")
	for i := range inv.Paths {
		p := &inv.Paths[i]
		switch p.Path {
		case "/usr/lib/libssl.so.3":
			p.Size, p.Digest = 720_000, digest("new libssl.so.3")
		case "/etc/nginx/nginx.conf":
			p.Mode, p.Size, p.Digest = 0o666, 800, digest("new nginx.conf")
		case "/bin":
			p.Target = "usr/sbin"
		case "/var/lib/nginx":
			p.UID = 0
		case "/usr/lib/nginx/echo.so":
			p.Listens = true
		case "/usr/bin/ping":
			p.Mode, p.Capabilities = 0o755, ""
		}
	}
	inv.Paths = append(inv.Paths, file("/usr/lib/libssl-extra.so", "libssl3", 5000))
	inv.Users = append(inv.Users[:1:1], imx.InventoryUser{Name: "app", UID: 1000, GID: 1000, Home: "/srv"})
	return d
}

// fromElsewhere is the same image as another builder would have pushed it.
func fromElsewhere() imx.ImageDetail {
	d := webImage()
	d.Image = imx.Image{Name: "team/web", Digest: digest("pushed"), Size: 4_100_000}
	d.Pushed, d.Scanned, d.Tags, d.RunBy, d.Configuration.User = true, true, []string{"team/web:v1"}, nil, ""
	for i := range d.Inventory.Paths {
		p := &d.Inventory.Paths[i]
		p.Origin, p.Package, p.Listens = "", "", false
	}
	for i := range d.Inventory.Packages {
		d.Inventory.Packages[i].Asked = false
	}
	return d
}

func TestImageListShowsTheNewestFirstAndWhoRunsEach(t *testing.T) {
	golden(t, "image-list", func(out term.Stream) error {
		return cli.ShowImageList(out, []imx.ImageView{patched().ImageView, webImage().ImageView, fromElsewhere().ImageView}, now())
	})
	golden(t, "image-list-empty", func(out term.Stream) error { return cli.ShowImageList(out, nil, now()) })
}

func TestImageShowTellsAtAGlanceWhatIsInside(t *testing.T) {
	golden(t, "image-show", func(out term.Stream) error { return cli.ShowImage(out, webImage(), now()) })
	golden(t, "image-show-pushed", func(out term.Stream) error { return cli.ShowImage(out, fromElsewhere(), now()) })
	golden(t, "image-packages", func(out term.Stream) error { return cli.ShowPackages(out, webImage()) })
	golden(t, "image-files", func(out term.Stream) error { return cli.ShowImageFiles(out, webImage().Inventory) })
}

func TestImageWhyNamesTheRelationOfEachStep(t *testing.T) {
	subjects := []string{
		"/lib/libssl.so.3", "libnginx-mod-http-echo", "nginx-light", "/usr/lib/libssl.so", "/etc/nginx/nginx.conf", "/etc/ld.so.cache", "/usr/bin/ping", "/tmp",
	}
	golden(t, "image-why", func(out term.Stream) error {
		for _, s := range subjects {
			if _, err := out.Write([]byte("$ imx image why web " + s + "\n")); err != nil {
				return err
			}
			if err := cli.ShowImageWhy(out, webImage(), s); err != nil {
				return err
			}
		}
		return nil
	})
	golden(t, "image-why-pushed", func(out term.Stream) error {
		if err := cli.ShowImageWhy(out, fromElsewhere(), "/lib/libssl.so.3"); err != nil {
			return err
		}
		return cli.ShowImageWhy(out, fromElsewhere(), "libssl3")
	})
}

func TestImageDiffNamesWhatMattersAndCountsTheRest(t *testing.T) {
	golden(t, "image-diff", func(out term.Stream) error { return cli.ShowImageDiff(out, webImage(), patched()) })
	golden(t, "image-diff-files", func(out term.Stream) error { return cli.ShowImageDiffFiles(out, webImage(), patched()) })
	golden(t, "image-diff-same", func(out term.Stream) error { return cli.ShowImageDiff(out, webImage(), webImage()) })
	golden(t, "image-diff-pushed", func(out term.Stream) error { return cli.ShowImageDiff(out, webImage(), fromElsewhere()) })
}

func TestImageTablesFitTheTerminal(t *testing.T) {
	var b strings.Builder
	out := term.Stream{Writer: &b, Size: func() (int, int) { return 40, 24 }}
	if err := cli.ShowImageList(out, []imx.ImageView{webImage().ImageView}, now()); err != nil {
		t.Fatal(err)
	}
	if err := cli.ShowPackages(out, webImage()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := lipgloss.Width(strings.TrimSuffix(line, "\n")); n > 40 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestATerminalIsToldWhatStandsInPlaceOfAPackage(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		var b strings.Builder
		if err := cli.ShowImageFiles(term.Stream{Writer: &b, Terminal: terminal}, webImage().Inventory); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "(frame) in every image") != terminal {
			t.Errorf("terminal %t: %s", terminal, b.String())
		}
	}
}
