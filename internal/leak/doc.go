// Package leak finds secrets in text: keys, tokens and passwords, by the rules that gitleaks ships.
//
// Only the rules are gitleaks': the text that its package config holds. Its scanner isn't used: it makes all its patterns when a
// scan begins, and readers for every kind of archive come with it. The loop here is short, makes a pattern when its first
// keyword is met, and looks only around keywords.
//
// What a finding says never holds the secret: messages name its kind, and Finding.Source has it blotted out.
package leak
