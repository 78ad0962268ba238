package simulator

import (
	"context"

	"xunjian/pkg/paper"
)

// LeaveDocument puts a document into the store, and returns what says whether it is still there.
func LeaveDocument(s *Simulator, name string) (there func() bool) {
	s.docs.mu.Lock()
	defer s.docs.mu.Unlock()
	s.docs.store.put(name, paper.Docx("left"))
	return func() bool {
		s.docs.mu.Lock()
		defer s.docs.mu.Unlock()
		_, ok := s.docs.store.entries[name]
		return ok
	}
}

// StoredDocuments counts them.
func StoredDocuments(s *Simulator) int {
	s.docs.mu.Lock()
	defer s.docs.mu.Unlock()
	return len(s.docs.store.entries)
}

// WarmOffice converts a document before anybody measures.
func WarmOffice(ctx context.Context, s *Simulator) error {
	_, err := s.docs.converter.convert(ctx, paper.Docx("warm"))
	return err
}
