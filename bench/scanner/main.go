// Command scanner matches a list of packages with Debian's advisory lists, as `imx scan` does, and prints each finding
// on a line: source package, vulnerability, fixed version. bench/scan compares them with a rival's.
//
//	scanner CODENAME PACKAGES LIST...
//
// PACKAGES has a line "name source version" for each package; on stderr comes what it took.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/vuln"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		log.Fatal(err)
	}
}

func run(args []string, out, notes io.Writer) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: scanner CODENAME PACKAGES LIST")
	}
	packages, err := read(args[0], args[1])
	if err != nil {
		return err
	}
	var feeds []vuln.Feed
	for _, name := range args[2:] {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		book, _, err := vuln.NewBook(func(string, string) {}, func(s vuln.Sink) (vuln.Summary, error) { return vuln.ParseDSA(f, s) })
		if err != nil {
			return err
		}
		feeds = append(feeds, vuln.Feed{Name: name, Book: book})
	}
	began := time.Now()
	found, err := vuln.Scan(packages, feeds)
	if err != nil {
		return err
	}
	took := time.Since(began)
	var lines []string
	for _, v := range found {
		lines = append(lines, v.Package.Name+" "+v.ID+" "+v.Package.Fixed)
	}
	slices.Sort(lines)
	_, err = fmt.Fprintln(out, strings.Join(slices.Compact(lines), "\n"))
	_, _ = fmt.Fprintf(notes, "matching took %s\n", took) // a note
	return err
}

func read(codename, name string) ([]vuln.Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in imx.Inventory
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 3 {
			return nil, fmt.Errorf("%q isn't name, source, version", lines.Text())
		}
		in.Packages = append(in.Packages, imx.InventoryPackage{
			Package: imx.Package{Name: words[0], Version: words[2], Suite: codename}, Source: words[1], SourceVersion: words[2],
		})
	}
	packages, _ := vuln.Packages(in)
	return packages, lines.Err()
}
