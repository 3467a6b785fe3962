package leak

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"imx"
)

// fromNames is the Rule.From of rules that know a file by its name.
const fromNames = "imx"

// keeper is a kind of file that programs keep secrets in.
type keeper struct {
	about imx.Rule
	names []string              // globs for its name, or for that and its folder's; in lower case
	not   []string              // globs of names that are examples
	begin [][]byte              // of which it begins with one, where it is no text
	look  func() *regexp.Regexp // what is in it, with the secret as its group; nil for any content
}

// keepers are all kinds. A place of theirs that gitleaks' rules know counts as what those say.
func keepers() []keeper {
	return []keeper{
		newKeeper("private-key", "A file for a private key has one", imx.Critical,
			[]string{"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk", "*.pem", "*.key", "*.ppk", "*_rsa", "*_ed25519"},
			`(-----BEGIN[ A-Z0-9]{0,40} PRIVATE KEY(?: BLOCK)?-----[^-]{16,}|PuTTY-User-Key-File-\d[^\n]*(?:\n[^\n]*)*?\nPrivate-Lines[^\n]*\n[^\n]{16,})`),
		newKeeper("env", "A file of environment variables has a password or a key", imx.High,
			[]string{".env", "*.env", ".env.*", ".envrc"},
			`(?mi)^[ \t]*(?:export[ \t]+)?[\w.]{0,60}(?:passw(?:or)?d|passphrase|secret|token|api_?key|private_?key|access_?key|credentials?|_pass|_pwd)(?:_[a-z0-9]{1,12})?[ \t]*=[ \t]*["']?`+literal+`["']?[ \t]*$`),
		newKeeper("npmrc", "npm's settings have a token or a password", imx.Critical,
			[]string{".npmrc"}, `(?mi)^[^#;\n]{0,200}\b_(?:authToken|auth|password)[ \t]*=[ \t]*["']?`+literal),
		newKeeper("kubeconfig", "A kubeconfig has a key, a token or a password", imx.Critical,
			[]string{"kubeconfig", "kubeconfig.*", "*.kubeconfig", ".kube/config"},
			`(?m)^[ \t-]*(?:client-key-data|token|id-token|refresh-token|password)[ \t]*:[ \t]*["']?`+literal),
		newKeeper("pgpass", "PostgreSQL's password file has a password", imx.Critical,
			[]string{".pgpass", "pgpass.conf"}, `(?m)^[^#:\n]{1,255}:[^:\n]{1,5}:[^:\n]{1,63}:[^:\n]{1,63}:`+literal),
		newKeeper("netrc", "A netrc has a password", imx.Critical,
			[]string{".netrc", "_netrc"}, `(?m)\bpassword[ \t\r\n]+`+literal),
		newKeeper("credentials", "A file for credentials has some", imx.Critical,
			[]string{"credentials", ".aws/config", ".git-credentials", ".s3cfg", ".boto", ".pypirc", ".my.cnf", ".vault-token", ".dockercfg", ".docker/config.json"},
			`(?mi)(?:^[ \t]*(?:aws_secret_access_key|aws_session_token|gs_secret_access_key|secret_key|password)[ \t]*=[ \t]*["']?|^https?://[^:/@\s]{1,100}:|"(?:auth|identitytoken|password)"[ \t]*:[ \t]*"|\A(?:hvs\.|s\.))`+literal),
		newKeeper("htpasswd", "A password file of a web server has hashes, which can be guessed", imx.High,
			[]string{".htpasswd", "htpasswd", "*.htpasswd"}, `(?m)^[^#:\s]{1,255}:((?:\$(?:apr1|2[aby]|5|6)\$|\{SHA\})[^\s:]{8,})`),
		newKeystore(),
	}
}

// literal is a value as it is: not empty, no reference to a variable, and no word that stands for one.
const literal = `([^\s"'$<{*%][^\s"'@]{3,})`

func newKeeper(id, title string, level imx.Level, names []string, text string) keeper {
	r := imx.Rule{
		ID: prefix + "file-" + id, Title: title, Level: level, From: fromNames,
		Description: "A file that programs keep secrets in, known by its name (" + strings.Join(names, ", ") + "), and by what is in it.",
		Why:         "Whoever can read the template, its repository or the image has the secret, and so has everybody who could read them before.",
		Fix:         "Change the secret where it is known, and take the file away: have the program read it from a volume. If it is no secret, write a waiver.",
	}
	k := keeper{about: r, names: names, not: []string{"*.example", "*.sample", "*.template", "*.dist", "*.pub"}}
	if text != "" {
		k.look = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
	}
	return k
}

// newKeystore is of files that are no text: what they begin with tells them from others of that name.
func newKeystore() keeper {
	k := newKeeper("keystore", "A keystore may have private keys", imx.Critical, []string{"*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx"}, "")
	k.begin = [][]byte{{0x30, 0x82}, {0x30, 0x80}, {0xfe, 0xed, 0xfe, 0xed}, {0xce, 0xce, 0xce, 0xce}, {0x03, 0xd9, 0xa2, 0x9a}}
	return k
}

// fits reports whether a file has a name of the kind.
func (k keeper) fits(name string) bool {
	name = strings.ToLower(name)
	is := func(globs []string) bool {
		return slices.ContainsFunc(globs, func(glob string) bool {
			part := path.Base(name)
			if strings.Contains(glob, "/") {
				part = path.Join(path.Base(path.Dir(name)), part)
			}
			ok, err := path.Match(glob, part)
			return ok && err == nil
		})
	}
	return is(k.names) && !is(k.not)
}

// secrets are where a text of a kind's name has what the kind keeps.
func (k keeper) secrets(text []byte) []Secret {
	if k.look == nil {
		return nil
	}
	var all []Secret
	for _, at := range k.look().FindAllSubmatchIndex(text, maxSecrets) {
		if !placeholder(text[at[2]:at[3]]) {
			all = append(all, Secret{k.about, at[2], at[3]})
		}
	}
	return all
}

// placeholder reports whether a value says of itself that it is none.
func placeholder(value []byte) bool {
	low := bytes.ToLower(value)
	is := func(of func(s, part []byte) bool) func(string) bool {
		return func(word string) bool { return of(low, []byte(word)) }
	}
	return slices.ContainsFunc([]string{"example", "placeholder", "change-me", "change_me", "changeme", "xxxx"}, is(bytes.Contains)) ||
		slices.ContainsFunc([]string{"your", "none", "null", "true", "false"}, is(bytes.HasPrefix))
}

// named are the secrets that a text has because of its name.
func (s *Scanner) named(name string, text []byte) []Secret {
	var all []Secret
	for _, k := range s.keepers {
		if name != "" && k.fits(name) {
			all = append(all, k.secrets(text)...)
		}
	}
	return all
}

// Binary returns the rule that a file which is no text breaks: it is a keystore. False for others.
func (s *Scanner) Binary(name string, content []byte) (imx.Rule, bool) {
	for _, k := range s.keepers {
		if k.fits(name) && slices.ContainsFunc(k.begin, func(b []byte) bool { return bytes.HasPrefix(content, b) }) {
			return k.about, true
		}
	}
	return imx.Rule{}, false
}
