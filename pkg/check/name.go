package check

// ValidName says whether a text can name a check, a service or an agent.
func ValidName(s string) bool { return len(s) <= maxName && nameForm.MatchString(s) }
