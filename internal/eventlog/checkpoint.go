package eventlog

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"imx"
)

func checkpointPath(dir string) string { return filepath.Join(dir, "checkpoint") }

// sign makes a checkpoint of a tree: C2SP tlog-checkpoint, with the time as an extension line.
func sign(s note.Signer, key string, t *tree, at time.Time) (imx.Checkpoint, error) {
	root := t.root()
	text := fmt.Sprintf("%s\n%d\n%s\ntime %s\n", s.Name(), t.size, root, at.UTC().Format(time.RFC3339))
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return imx.Checkpoint{}, fmt.Errorf("signing the checkpoint: %w", err)
	}
	return imx.Checkpoint{Size: t.size, Root: root.String(), Note: string(signed), Key: key}, nil
}

// parseCheckpoint verifies a signed checkpoint.
func parseCheckpoint(signed, key string) (imx.Checkpoint, error) {
	v, err := verifier(key)
	if err != nil {
		return imx.Checkpoint{}, err
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		return imx.Checkpoint{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return imx.Checkpoint{}, errors.New("malformed checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return imx.Checkpoint{}, fmt.Errorf("malformed size %q in the checkpoint", lines[1])
	}
	if _, err := tlog.ParseHash(lines[2]); err != nil || !canonicalBase64(lines[2]) {
		return imx.Checkpoint{}, errors.New("malformed root hash in the checkpoint")
	}
	// The signature's own last bits aren't signed: see that nobody changed them.
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 || !canonicalBase64(n.Sigs[0].Base64) ||
		signed != n.Text+"\n— "+n.Sigs[0].Name+" "+n.Sigs[0].Base64+"\n" {
		return imx.Checkpoint{}, errors.New("malformed signature of the checkpoint")
	}
	return imx.Checkpoint{Size: size, Root: lines[2], Note: signed, Key: key}, nil
}

// readCheckpoint reads and verifies the checkpoint of a log.
func readCheckpoint(dir, key string) (imx.Checkpoint, error) {
	b, err := os.ReadFile(checkpointPath(dir))
	if err != nil {
		return imx.Checkpoint{}, err
	}
	return parseCheckpoint(string(b), key)
}

// rootOf is the root of a checkpoint that was verified.
func rootOf(c imx.Checkpoint) tlog.Hash {
	var h tlog.Hash
	b, err := base64.StdEncoding.DecodeString(c.Root)
	if err == nil {
		copy(h[:], b)
	}
	return h
}

// damaged says that the log isn't what it was, from an event on.
func damaged(first int64, cause error) *imx.Error {
	return imx.Errorf(imx.Refused, "the log isn't as it was written, from event %d on: %w", first, cause).
		WithHint("imx log verify shows what is still good; put the log back from a backup")
}
