package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// oaFile is the attachment of the first notice; inspections know its digest.
var oaFile = []byte(strings.Repeat("关于开展汛期安全检查的通知（附件）\n", 64))

// OAFileSHA256 is its digest.
func OAFileSHA256() string {
	sum := sha256.Sum256(oaFile)
	return hex.EncodeToString(sum[:])
}

// row is a line of a list.
type row map[string]any

func rows(w http.ResponseWriter, r *http.Request, all ...row) {
	if all == nil {
		all = []row{}
	}
	ok(w, map[string]any{"total": len(all), "rows": all, "user": r.URL.Query().Get("user")})
}

func (o *office) index(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, "index", oaName)
}

func (o *office) user(w http.ResponseWriter, r *http.Request) {
	until := time.Now().AddDate(0, 0, 60).Format(time.DateOnly)
	ok(w, map[string]any{"account": o.who(r), "name": oaName, "dept": "监测测试部门", "passwordUntil": until})
}

func (o *office) todo(w http.ResponseWriter, r *http.Request) {
	owner := o.who(r)
	switch modeOf(r) {
	case TodoEmpty:
		rows(w, r)
		return
	case TodoWrong:
		owner = "zhangwei"
	case SlowStep:
		if !wait(r, 2500*time.Millisecond) {
			return
		}
	}
	rows(w, r, row{"id": "T1", "title": "【监测】常设测试待办，请勿处理", "owner": owner, "created": time.Now().Format(time.DateOnly)})
}

func (o *office) receipt(w http.ResponseWriter, r *http.Request) {
	rows(w, r,
		row{"id": "R1", "title": "关于做好防汛备汛工作的通知", "from": "省防指"},
		row{"id": "R2", "title": "【监测】测试来文", "from": "监测测试部门"})
}

func (o *office) notice(w http.ResponseWriter, r *http.Request) {
	rows(w, r,
		row{"id": "N1", "title": "关于开展汛期安全检查的通知", "file": "/files/N1-1", "sha256": OAFileSHA256()},
		row{"id": "N2", "title": "关于系统异常情况处置流程的说明"}) // a title that is no error
}

func (o *office) file(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != "N1-1" {
		notFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="notice.txt"`)
	body := oaFile
	if modeOf(r) == FileWrong {
		body = body[len(body)/2:]
	}
	w.Write(body)
}

func (o *office) archive(w http.ResponseWriter, r *http.Request) {
	all := []row{{"id": "A1", "title": "2025年度水利工作要点"}, {"id": "A2", "title": "【监测】归档测试件"}}
	keyword := r.URL.Query().Get("keyword")
	found := slices.DeleteFunc(all, func(e row) bool { return !strings.Contains(e["title"].(string), keyword) })
	if modeOf(r) == SearchEmpty {
		found = nil
	}
	rows(w, r, found...)
}

// create takes drafts of the test department and its test flow alone: no inspection may write where people work.
func (o *office) create(w http.ResponseWriter, r *http.Request) {
	var in draft
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&in); err != nil || in.Title == "" {
		no(w, 500, "标题不能为空")
		return
	}
	if in.Dept != "监测测试部门" || in.Flow != "监测测试流程" || !strings.HasPrefix(in.Title, "【监测】") {
		writeJSON(w, http.StatusForbidden, map[string]any{"code": 403, "msg": "测试账号只能在测试流程拟稿"})
		return
	}
	if modeOf(r) == DraftFails {
		no(w, 500, "流程引擎繁忙")
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next++
	d := &draft{ID: fmt.Sprintf("D%d", o.next), Title: in.Title, Dept: in.Dept, Flow: in.Flow, State: "拟稿", Created: time.Now().Format(time.RFC3339)}
	o.drafts[d.ID] = d
	ok(w, d)
}

// find answers 404 itself.
func (o *office) find(w http.ResponseWriter, r *http.Request) *draft {
	d := o.drafts[r.PathValue("id")]
	if d == nil {
		writeJSON(w, http.StatusNotFound, map[string]any{"code": 404, "msg": "公文不存在"})
	}
	return d
}

func (o *office) read(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.find(w, r); d != nil {
		ok(w, d)
	}
}

// move takes a draft on to the next state: routed, then approved.
func (o *office) move(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.find(w, r)
	if d == nil {
		return
	}
	from, to := "拟稿", "流转"
	if strings.HasSuffix(r.URL.Path, "/approve") {
		from, to = "流转", "办结"
	}
	if d.State != from || to == "办结" && modeOf(r) == ApproveFails {
		no(w, 500, "流程节点不匹配")
		return
	}
	d.State = to
	ok(w, d)
}

func (o *office) remove(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.find(w, r)
	switch {
	case d == nil:
		return
	case modeOf(r) == DeleteRefused:
		no(w, 500, "公文已被锁定，不能删除")
		return
	case modeOf(r) != DraftStays:
		delete(o.drafts, d.ID)
	}
	ok(w, nil)
}

// list finds papers by a word of their title.
func (o *office) list(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := []*draft{}
	for _, d := range o.drafts {
		if strings.Contains(d.Title, r.URL.Query().Get("keyword")) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *draft) int { return strings.Compare(a.Created+a.ID, b.Created+b.ID) })
	ok(w, map[string]any{"total": len(found), "rows": found})
}

// Drafts are the papers that lie in the office, by title: what inspections left behind.
func (s *Simulator) Drafts() []string {
	s.oa.mu.Lock()
	defer s.oa.mu.Unlock()
	var out []string
	for _, d := range s.oa.drafts {
		out = append(out, d.Title)
	}
	slices.Sort(out)
	return out
}

// Leave puts a draft into the office, as a run that was cut off does.
func (s *Simulator) Leave(title string, age time.Duration) {
	s.oa.mu.Lock()
	defer s.oa.mu.Unlock()
	s.oa.next++
	id := fmt.Sprintf("D%d", s.oa.next)
	s.oa.drafts[id] = &draft{ID: id, Title: title, Dept: "监测测试部门", Flow: "监测测试流程", State: "拟稿", Created: time.Now().Add(-age).Format(time.RFC3339)}
}

// Unlock takes the office's locks off, and the tries that led to them.
func (s *Simulator) Unlock() {
	s.oa.mu.Lock()
	defer s.oa.mu.Unlock()
	clear(s.oa.locked)
	clear(s.oa.wrong)
}

// Wrong counts the tries that have been made with a wrong password in a row.
func (s *Simulator) Wrong(user string) int {
	s.oa.mu.Lock()
	defer s.oa.mu.Unlock()
	return s.oa.wrong[user]
}
