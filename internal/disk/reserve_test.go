package disk_test

import (
	"path/filepath"
	"testing"

	"imx/internal/disk"
)

func TestAReserveIsSpentOnceAndHeldAgain(t *testing.T) {
	r := disk.NewReserve(filepath.Join(t.TempDir(), "reserve"), 1<<16)
	if r.Held() || r.Spend() {
		t.Error("there is room in a reserve that nobody has taken")
	}
	for range 2 {
		if err := r.Hold(); err != nil || !r.Held() {
			t.Fatalf("taken: %v, %v", r.Held(), err)
		}
	}
	if !r.Spend() || r.Spend() || r.Held() {
		t.Error("it can be spent twice, or not at all")
	}
}
