package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Telegram is a short message that the centre has taken, or one that a telephone sends.
type Telegram struct {
	Number string `json:"number"`
	Text   string `json:"text"`
}

const smscLogMost = 1000

// note keeps what was sent. The caller holds mu.
func (c *centre) note(number, text string) {
	if len(c.log) >= smscLogMost {
		c.log = slices.Delete(c.log, 0, smscLogMost/2)
	}
	c.log = append(c.log, Telegram{number, text})
}

// heard notes that a reply was acknowledged; one that was not goes to the next session, too.
func (s *smscSession) heard(seq uint32) {
	s.write.Lock()
	defer s.write.Unlock()
	delete(s.open, seq)
}

// Telegrams are the short messages that the centre has taken of late by SMPP and CMPP, the oldest first.
func (s *Simulator) Telegrams() []Telegram {
	s.centre.mu.Lock()
	defer s.centre.mu.Unlock()
	return append([]Telegram{}, s.centre.log...)
}

// Reply has a telephone send a message to the account that pages over a door: SMPP or CMPP. When nobody is logged in it is
// kept for who logs in next.
func (s *Simulator) Reply(door string, t Telegram) error {
	user, ok := map[string]string{SMPP: SMPPUser, CMPP: CMPPUser}[door]
	if !ok || t.Number == "" || t.Text == "" || len([]rune(t.Text)) > 70 {
		return fmt.Errorf("reply to %q: want %s or %s, a number, and a text of at most 70 characters", door, SMPP, CMPP)
	}
	c := s.centre
	c.mu.Lock()
	c.ids++
	id := c.ids
	c.mu.Unlock()
	c.hand(user, smscMessage{id: id, number: t.Number, text: t.Text, at: time.Now()})
	return nil
}

func (s *Simulator) postReply(w http.ResponseWriter, r *http.Request) {
	var t Telegram
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&t)
	if err == nil {
		err = s.Reply(r.PathValue("door"), t)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, t)
}
