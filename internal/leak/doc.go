// Package leak finds secrets in text: keys, tokens and passwords, by the rules that gitleaks ships.
//
// Gitleaks' own packages aren't used: they bring a configuration framework, a logger, a terminal library and readers
// for every kind of archive with them, and make all their patterns when a scan begins. Its rules are data (gitleaks.toml, unchanged, under
// the MIT license beside it); the loop over them is short, makes a pattern when its first keyword is met, and looks only around keywords.
//
// What a finding says never holds the secret: messages name its kind, and Finding.Source has it blotted out.
package leak
