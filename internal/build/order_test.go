package build_test

import (
	"os"
	"path/filepath"
	"testing"

	"imx"
	"imx/internal/erofs/erofstest"
)

func TestAPreDependencyIsConfiguredBeforeItsDependentIsUnpacked(t *testing.T) {
	w, b := host(t)
	root := erofstest.Mounted(t, b, run(t, b, w.own(
		t, imx.ImageSpec{},
		pkg{Name: "one", Fields: map[string]string{"Pre-Depends": "virtual"}, Scripts: map[string]string{"preinst": "#!/bin/sh -e\nmkdir /srv/seen-$(cat /tmp/two)\n"}},
		pkg{Name: "two", Depends: "three", Fields: map[string]string{"Provides": "virtual"}, Scripts: map[string]string{"postinst": "#!/bin/sh -e\ncp /tmp/three /tmp/two\n"}},
		pkg{Name: "three", Scripts: map[string]string{"postinst": "#!/bin/sh -e\necho three >/tmp/three\n"}},
	)).Image.Digest)
	if _, err := os.Stat(filepath.Join(root, "srv/seen-three")); err != nil {
		t.Error(err)
	}
}

func TestAPreDependencyWaitsForWhatItDependsOnItself(t *testing.T) {
	w, b := host(t)
	root := erofstest.Mounted(t, b, run(t, b, w.own(
		t, imx.ImageSpec{},
		pkg{Name: "timer", Fields: map[string]string{"Pre-Depends": "timer-common"}, Scripts: map[string]string{"preinst": "#!/bin/sh -e\nmkdir /srv/seen-$(cat /tmp/common)\n"}},
		pkg{Name: "timer-common", Depends: "none | sys", Scripts: map[string]string{"postinst": "#!/bin/sh -e\ncp /tmp/sys /tmp/common\n"}},
		pkg{Name: "sys", Fields: map[string]string{"Pre-Depends": "lib"}, Scripts: map[string]string{"preinst": "#!/bin/sh -e\n", "postinst": "#!/bin/sh -e\ncp /tmp/lib /tmp/sys\n"}},
		pkg{Name: "lib", Scripts: map[string]string{"postinst": "#!/bin/sh -e\necho lib >/tmp/lib\n"}},
	)).Image.Digest)
	if _, err := os.Stat(filepath.Join(root, "srv/seen-lib")); err != nil {
		t.Error(err)
	}
}
