package media

import "github.com/quckchat/quckchat/server/job"

func (s *Service) looksAt(*upload) bool         { return false }
func (s *Service) inspect(*arrived, bool) error { return nil }
func (u *upload) job() job.Job                  { return job.Job{} }
func (u *upload) squareJob() job.Job            { return job.Job{} }
func (s *Service) handleProcessing()            {}
