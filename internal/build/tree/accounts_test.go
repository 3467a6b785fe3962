// Who a name in a template is: by the image's own accounts, and numbers in any case.

package tree_test

import (
	"strings"
	"testing"

	"imx"
	"imx/internal/build/tree"
)

func accounts() tree.Accounts {
	return tree.Accounts{
		Passwd: "root:x:0:0:root:/root:/bin/bash\nman:x:6:12:man:/var/cache/man:/usr/sbin/nologin\nwww-data:x:33:33::/var/www:\nhalf:x\n",
		Group:  "root:x:0:\nadm:x:4:\nwww-data:x:33:\n",
	}
}

func TestAUserIsFoundByNameOrNumber(t *testing.T) {
	for user, want := range map[string]string{
		"": "0:0", "www-data": "33:33", "33": "33:33", "6": "6:12", "4242": "4242:4242", "4242:0": "4242:0", "man:adm": "6:4", "0:77": "0:77",
	} {
		if got, err := accounts().User(user); got != want || err != nil {
			t.Errorf("user %q is %s, not %s: %v", user, got, want, err)
		}
	}
}

func TestAUserThatIsNotThereIsInvalidAndTheHintNamesThoseThatAre(t *testing.T) {
	for user, hint := range map[string]string{"nobdy": "half, man, root, www-data", "-1": "man", "root:grp": "adm, root, www-data", "root:-1": "adm"} {
		_, err := accounts().User(user)
		if imx.KindOf(err) != imx.Invalid || !strings.Contains(imx.AsError(err).Hint, hint) {
			t.Errorf("user %q: %v (%s)", user, err, imx.AsError(err).Hint)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add(accounts().Passwd, accounts().Group, "man:adm")
	f.Add("odd:x:-2:none::\n", "odd:x:-2:\n", "odd:odd")
	f.Fuzz(func(t *testing.T, passwd, group, name string) {
		uid, gid, err := tree.Accounts{Passwd: passwd, Group: group}.Owner(name)
		if err == nil && min(uid, gid) < 0 || name == "" && max(uid, gid) > 0 {
			t.Errorf("%q is %d:%d", name, uid, gid)
		}
	})
}
