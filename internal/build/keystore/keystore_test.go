// Java's key stores are the one generated file that has to be rewritten to be the same twice.

package keystore_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"testing"
	"time"

	"imx/internal/build/keystore"
)

// epoch is what stores are dated to.
func epoch() time.Time { return time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC) }

// keyStore writes a store as java.security's JKS does, of entries with the tag.
func keyStore(tag uint32, password string, at time.Time, names ...string) []byte {
	be := binary.BigEndian
	out := be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, 0xfeedfeed), 2), uint32(len(names)))
	text := func(s string) { out = append(be.AppendUint16(out, uint16(len(s))), s...) }
	for _, name := range names {
		out = be.AppendUint32(out, tag)
		text(name)
		out = be.AppendUint64(out, uint64(at.UnixMilli()))
		text("X.509")
		out = append(be.AppendUint32(out, 300), bytes.Repeat([]byte(name), 300)[:300]...)
	}
	h := sha1.New()
	for _, c := range password {
		h.Write(be.AppendUint16(nil, uint16(c)))
	}
	h.Write([]byte("Mighty Aphrodite"))
	h.Write(out)
	return h.Sum(out)
}

func TestAKeyStoreOfCertificatesIsTheSameWheneverItWasMade(t *testing.T) {
	made := keyStore(2, "changeit", time.Unix(1.7e9, 0), "debian:one.pem", "debian:two.pem")
	again := keyStore(2, "changeit", time.Unix(1.8e9, 0), "debian:one.pem", "debian:two.pem")
	want := keyStore(2, "changeit", epoch(), "debian:one.pem", "debian:two.pem")
	for _, store := range [][]byte{made, again, want} {
		before := bytes.Clone(store)
		if got, ok := keystore.Redate(store, epoch()); !ok || !bytes.Equal(got, want) || !bytes.Equal(store, before) {
			t.Errorf("%v:\n%q\nwanted\n%q", ok, got, want)
		}
	}
}

func TestWhatIsNoKeyStoreOfCertificatesIsLeftAlone(t *testing.T) {
	good := keyStore(2, "changeit", epoch(), "one")
	damaged := bytes.Clone(good)
	damaged[40]++
	for what, store := range map[string][]byte{
		"nothing": nil, "a text": []byte("certificates"), "a store with a key": keyStore(1, "changeit", epoch(), "one"),
		"another password": keyStore(2, "secret", epoch(), "one"), "damaged": damaged, "cut off": good[:len(good)-1],
	} {
		if got, ok := keystore.Redate(store, epoch()); ok {
			t.Errorf("%s came to %q", what, got)
		}
	}
}

func FuzzKeyStore(f *testing.F) {
	f.Add(keyStore(2, "changeit", epoch(), "one", "two"))
	f.Add(keyStore(1, "changeit", epoch(), "one"))
	f.Fuzz(func(t *testing.T, store []byte) {
		got, ok := keystore.Redate(store, epoch())
		if again, fine := keystore.Redate(got, epoch()); ok && (!fine || !bytes.Equal(again, got) || len(got) != len(store)) {
			t.Errorf("%q came to %q and then to %q", store, got, again)
		}
	})
}
