package git_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"imx"
	"imx/internal/git"
)

// person is somebody with a key, whom imx knows.
func person(k imx.Key) (map[string]imx.Key, map[imx.Principal]imx.Person) {
	return map[string]imx.Key{k.ID: k}, map[imx.Principal]imx.Person{"ada": {Name: "ada", Roles: []imx.Role{imx.RoleAuthor}}}
}

// sshKey makes a key with ssh-keygen and returns its file.
func sshKey(t *testing.T) (file string, k imx.Key) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ssh-keygen", "-l", "-f", file+".pub").Output()
	if err != nil {
		t.Fatal(err)
	}
	return file, imx.Key{ID: strings.Fields(string(out))[1], Owner: "ada", Public: strings.TrimSpace(string(public))}
}

func TestCommitsAndTagsThatGitSignedWithSSHCount(t *testing.T) {
	r := newRemote(t)
	file, k := sshKey(t)
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingKey", file)
	signed := r.commit("signed", "-S")
	r.git("tag", "-s", "-m", "version 1", "v1")
	plain := r.commit("plain")
	r.git("tag", "-s", "-m", "version 2", "v2")
	repo := r.follow()
	fetch(t, repo)
	keys, people := person(k)
	now := time.Now()
	one, err := repo.Commit(t.Context(), signed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := git.Signer(one, keys, people, now); err != nil || got.Owner != "ada" || one.Author.Email != "ada@example.com" {
		t.Errorf("the signer is %q, %v", got.Owner, err)
	}
	two, err := repo.Commit(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := git.Signer(two, keys, people, now); err == nil || !strings.Contains(err.Error(), "isn't signed") {
		t.Errorf("an unsigned commit: %v", err)
	}
	tags, err := repo.Tags(t.Context(), plain)
	if err != nil || len(tags) != 1 {
		t.Fatalf("tags %v, %v", tags, err)
	}
	if _, err := git.Signer(tags[0], keys, people, now); err != nil || tags[0].Subject != "version 2" {
		t.Errorf("the tag %q: %v", tags[0].Subject, err)
	}
}

func TestASignatureThatDoesntCountSaysWhy(t *testing.T) {
	r := newRemote(t)
	file, k := sshKey(t)
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingKey", file)
	id := r.commit("signed", "-S")
	repo := r.follow()
	fetch(t, repo)
	o, err := repo.Commit(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for why, change := range map[string]func(o *git.Object, k *imx.Key, p *imx.Person){
		"is wrong": func(o *git.Object, _ *imx.Key, _ *imx.Person) {
			o.Payload = bytes.Replace(o.Payload, []byte("signed"), []byte("signet"), 1)
		},
		"nobody's whom imx": func(_ *git.Object, k *imx.Key, _ *imx.Person) { k.ID = "SHA256:other" },
		"is compromised":    func(_ *git.Object, k *imx.Key, _ *imx.Person) { k.Compromised = true },
		"ended at":          func(_ *git.Object, k *imx.Key, _ *imx.Person) { k.Until = now.Add(-time.Second) },
		"hasn't the role":   func(_ *git.Object, _ *imx.Key, p *imx.Person) { p.Roles = []imx.Role{imx.RoleReviewer} },
		"neither SSH's":     func(o *git.Object, _ *imx.Key, _ *imx.Person) { o.Signature = "-----BEGIN SIGNED MESSAGE-----\n" },
	} {
		changed, key, p := o, k, imx.Person{Name: "ada", Roles: []imx.Role{imx.RoleAuthor}}
		change(&changed, &key, &p)
		_, err := git.Signer(changed, map[string]imx.Key{key.ID: key}, map[imx.Principal]imx.Person{"ada": p}, now)
		if imx.KindOf(err) != imx.Refused || !strings.Contains(err.Error(), why) {
			t.Errorf("want %q, got %v", why, err)
		}
	}
}

func TestACommitSignedWithOpenPGPCounts(t *testing.T) {
	r := newRemote(t)
	r.commit("one")
	tree := r.git("rev-parse", "HEAD^{tree}")
	entity, err := openpgp.NewEntity("Ada", "", "ada@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf("tree %s\nauthor Ada <ada@example.com> %d +0000\ncommitter Ada <ada@example.com> %[2]d +0000\n", tree, time.Now().Unix())
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, entity, strings.NewReader(body+"\nsigned\n"), nil); err != nil {
		t.Fatal(err)
	}
	header := "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature.String(), "\n"), "\n", "\n ") + "\n"
	cmd := exec.Command("git", "-C", r.dir, "hash-object", "-t", "commit", "-w", "--stdin")
	cmd.Stdin = strings.NewReader(body + header + "\nsigned\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(out))
	r.git("update-ref", "refs/heads/main", id)
	repo := r.follow()
	fetch(t, repo)
	o, err := repo.Commit(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	keys, people := person(imx.Key{ID: git.PGPFingerprint(entity), Owner: "ada", Public: armored(t, entity)})
	if got, err := git.Signer(o, keys, people, time.Now().Add(time.Second)); err != nil || got.Owner != "ada" {
		t.Errorf("the signer is %q, %v", got.Owner, err)
	}
	if _, err := git.Signer(o, nil, people, time.Now()); err == nil || !strings.Contains(err.Error(), "nobody's whom imx knows") {
		t.Errorf("an unknown key: %v", err)
	}
	o.Payload[len(o.Payload)-2] ^= 1
	if _, err := git.Signer(o, keys, people, time.Now().Add(time.Second)); err == nil || !strings.Contains(err.Error(), "is wrong") {
		t.Errorf("changed bytes: %v", err)
	}
}

func armored(t *testing.T, e *openpgp.Entity) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\ngpgsig x\n y\n\nsubject\n\nbody\n"))
	f.Add([]byte("object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nsubject\n-----BEGIN SSH SIGNATURE-----\nx\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if o, err := git.ParseCommit(raw); err == nil && len(o.Payload) > len(raw)+1 {
			t.Errorf("a signature is over more than there is: %q", raw)
		}
		if _, _, err := git.ParseTag(raw); err != nil && imx.KindOf(err) != imx.Refused {
			t.Error(err)
		}
	})
}
