package incident

// Record is an incident as it is now, without its events; ErrNotFound when there is none.
func (d *Desk) Record(id string) (Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.find(id)
}
