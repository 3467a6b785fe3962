package scan_test

import (
	"testing"

	"imx"
)

// The index of images would grow for ever, and a scan of the past would read what nobody can get any more.
func TestWhatIsKnownOfAnImageGoesWithIt(t *testing.T) {
	w := newWorld(t)
	gone, kept := w.image("gone", "libone one 1.0-1"), w.image("kept", "zlib1g zlib 1:1.2.13")
	if r := w.scan(imx.ScanRequest{All: true}); len(r.Images) != 2 {
		t.Fatalf("%+v", r.Images)
	}
	both := w.images
	w.images = w.images[1:]
	if err := w.scanner.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	clear(w.inside) // an image that is known isn't read again
	w.images = both
	r := w.scan(imx.ScanRequest{All: true})
	if len(r.Images) != 1 || r.Images[0].Image != kept || r.Images[0].Packages != 1 {
		t.Errorf("known are %+v, and not %s alone, without %s", r.Images, kept.Short(), gone.Short())
	}
}
