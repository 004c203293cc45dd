//go:build !linux

package main

// slacken does nothing where threads have no timer slack.
func slacken() {}
