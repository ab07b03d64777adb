package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
)

const (
	connectLimit = 2 * time.Second // of one try, where the address does not say connect_timeout
	pgConns      = 10              // where the address does not say pool_max_conns
)

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

func openPostgres(ctx context.Context, dsn string) (db, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return db{}, fmt.Errorf("store: %w: that of the PostgreSQL database cannot be read", ErrAddress) // pgx's text may hold the password
	}
	if !strings.Contains(dsn, "connect_timeout") {
		cfg.ConnConfig.ConnectTimeout = connectLimit
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		cfg.MaxConns = pgConns
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return db{}, fmt.Errorf("store: PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return db{}, fmt.Errorf("store: PostgreSQL: %w", err)
	}
	sqlDB := stdlib.OpenDBFromPool(pool)
	return db{
		write: sqlDB, read: sqlDB, dialect: postgres,
		driver: riverdatabasesql.NewWithPgxListener(sqlDB, pool),
		close: func() error {
			err := sqlDB.Close()
			pool.Close()
			return err
		},
	}, nil
}
