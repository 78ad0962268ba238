package channel

import "slices"

// where is how the kinds that reach people find one of them; kinds that are not here have receivers of their own alone.
var where = map[string]func(Person) string{
	"email": mailOf,
	"sms":   phoneOf, "voice": phoneOf, "cmpp": phoneOf, "smpp": phoneOf,
}

// Personal says whether the channel can bring a message to people by name.
func (b *base) Personal() bool { return where[b.s.Kind] != nil }

// Reaches says whether it can bring one to this person.
func (b *base) Reaches(p Person) bool {
	at := where[b.s.Kind]
	return at != nil && at(p) != ""
}

// Broadcasts says whether messages that name nobody reach anybody over it.
func (b *base) Broadcasts() bool { return !b.Personal() || len(b.s.To) > 0 }

// Personal are the names of the channels that reach people, in their order.
func (c Config) Personal() (out []string) {
	for _, s := range c.List {
		if where[s.Kind] != nil {
			out = append(out, s.Name)
		}
	}
	return slices.Clip(out)
}
