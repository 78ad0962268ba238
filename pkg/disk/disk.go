// Package disk knows what a folder lies on: which file system, how much room is left, and a reserve for bad times.
package disk
