package candidate

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"imx"
)

// Bounds of what is shown of changed files, in bytes: of one file, of one file's lines that differ, and of all of those.
const (
	maxFile  = 256 << 10
	maxLines = 64 << 10
	maxTexts = 512 << 10
)

// texts are the files among some changes, line by line.
func (d *Desk) texts(changes []imx.Change) []imx.TextChange {
	var list []imx.TextChange
	left := maxTexts
	for _, c := range changes {
		if c.Kind != "file" || !content(c.Before) || !content(c.After) || c.Before == c.After {
			continue
		}
		one := d.text(c)
		if len(one.Diff) > left {
			one.Diff, one.Note = "", "more than is shown of all files differs"
		}
		left -= len(one.Diff)
		list = append(list, one)
	}
	return list
}

// content reports whether one side of a change is a file's content, or that there is none: not its mode and owner.
func content(side string) bool {
	_, err := imx.ParseDigest(side)
	return side == "" || err == nil
}

func (d *Desk) text(c imx.Change) imx.TextChange {
	one := imx.TextChange{Subject: c.Subject, Path: c.Name}
	before, err := d.file(c.Before)
	var after []byte
	if err == nil {
		after, err = d.file(c.After)
	}
	switch {
	case err != nil:
		one.Note = imx.AsError(err).Message
	case !plain(before) || !plain(after):
		one.Note = fmt.Sprintf("it isn't text: %s → %s", imx.Size(len(before)), imx.Size(len(after)))
	default:
		one.Diff = string(diff.Diff("before"+c.Name, before, "after"+c.Name, after))
		if len(one.Diff) > maxLines {
			one.Diff, one.Note = "", fmt.Sprintf("more lines differ than are shown: %s → %s", imx.Size(len(before)), imx.Size(len(after)))
		}
	}
	return one
}

// file is the content of one side of a change.
func (d *Desk) file(side string) ([]byte, error) {
	if side == "" {
		return nil, nil
	}
	return d.cfg.Pipeline.Kept(imx.Digest(side), maxFile)
}

func plain(b []byte) bool { return utf8.Valid(b) && !bytes.ContainsRune(b, 0) }
