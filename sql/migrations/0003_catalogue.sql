-- abaxus: scope mode
-- Metrics, price plans, customers, subscriptions. The integers beside customers and metrics are
-- what events are stored under: short, and in insertion order.

CREATE TABLE metrics (
    metric_no   integer     GENERATED ALWAYS AS IDENTITY,
    metric_id   text        NOT NULL,
    metric_key  text        NOT NULL,
    name        text        NOT NULL,
    description text,
    aggregation text        NOT NULL,
    property    text,
    percentile  numeric(38, 10),
    value_type  text        NOT NULL,
    status      text        NOT NULL DEFAULT 'active',
    created_at  timestamptz NOT NULL,
    CONSTRAINT metrics_pkey PRIMARY KEY (metric_no),
    CONSTRAINT metrics_id_once UNIQUE (metric_id),
    CONSTRAINT metrics_key_once UNIQUE (metric_key),
    CONSTRAINT metrics_aggregation_known CHECK (
        aggregation IN ('sum', 'count', 'max', 'min', 'last', 'unique_count', 'percentile')
    ),
    CONSTRAINT metrics_property_for_unique_count CHECK (
        (aggregation = 'unique_count') = (property IS NOT NULL)
    ),
    CONSTRAINT metrics_percentile_for_percentile CHECK (
        (aggregation = 'percentile') = (percentile IS NOT NULL)
        AND (percentile IS NULL OR (percentile > 0 AND percentile < 100))
    ),
    CONSTRAINT metrics_value_type_known CHECK (value_type IN ('decimal', 'integer')),
    CONSTRAINT metrics_status_known CHECK (status IN ('active', 'inactive'))
);

CREATE TABLE price_plans (
    plan_id        text        NOT NULL,
    latest_version integer     NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT price_plans_pkey PRIMARY KEY (plan_id)
);

CREATE INDEX price_plans_newest ON price_plans (created_at DESC, plan_id DESC);

-- A version never changes but for its deprecation.
CREATE TABLE price_plan_versions (
    plan_id          text        NOT NULL,
    version          integer     NOT NULL,
    name             text        NOT NULL,
    currency         text        NOT NULL,
    billing_interval text        NOT NULL,
    billing_count    integer     NOT NULL,
    changelog        text,
    effective_from   timestamptz NOT NULL,
    deprecated_at    timestamptz,
    charges          jsonb       NOT NULL,
    entitlements     jsonb       NOT NULL,
    created_at       timestamptz NOT NULL,
    CONSTRAINT price_plan_versions_pkey PRIMARY KEY (plan_id, version),
    CONSTRAINT price_plan_versions_plan FOREIGN KEY (plan_id) REFERENCES price_plans,
    CONSTRAINT price_plan_versions_interval_known CHECK (
        billing_interval IN ('day', 'week', 'month', 'year')
    ),
    CONSTRAINT price_plan_versions_count_bounded CHECK (billing_count BETWEEN 1 AND 366)
);

CREATE TABLE customers (
    customer_no             integer     GENERATED ALWAYS AS IDENTITY,
    customer_id             text        NOT NULL,
    name                    text,
    email                   text,
    currency                text,
    billing_provider        text,
    provider_customer_id    text,
    provider_payment_method text,
    metadata                jsonb       NOT NULL,
    created_at              timestamptz NOT NULL,
    CONSTRAINT customers_pkey PRIMARY KEY (customer_no),
    CONSTRAINT customers_id_once UNIQUE (customer_id),
    CONSTRAINT customers_payment_method_whole CHECK (
        (provider_customer_id IS NULL) = (provider_payment_method IS NULL)
    )
);

-- billed_through, rated_watermark: every billing period that ends at or before billed_through has
-- been invoiced with all events landed up to rated_watermark; what landed later is a true-up.
-- rated_on is the UTC day of that rating: it bounds where what landed later is looked for.
CREATE TABLE subscriptions (
    subscription_id text        NOT NULL,
    customer_no     integer     NOT NULL,
    plan_id         text        NOT NULL,
    plan_version    integer     NOT NULL,
    start_at        timestamptz NOT NULL,
    end_at          timestamptz,
    billed_through  timestamptz,
    rated_watermark bigint      NOT NULL DEFAULT 0,
    rated_on        date,
    created_at      timestamptz NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id),
    CONSTRAINT subscriptions_customer FOREIGN KEY (customer_no) REFERENCES customers,
    CONSTRAINT subscriptions_plan FOREIGN KEY (plan_id, plan_version)
        REFERENCES price_plan_versions (plan_id, version),
    CONSTRAINT subscriptions_end_after_start CHECK (end_at IS NULL OR end_at > start_at)
);

CREATE INDEX subscriptions_of_customer ON subscriptions (customer_no, subscription_id);

-- Which subscription prices a metric of a customer, when: never two at once. Single-valued integer
-- ranges stand in for equality, so that plain GiST serves and no extension is needed.
CREATE TABLE subscription_metrics (
    subscription_id text      NOT NULL,
    customer_no     integer   NOT NULL,
    metric_no       integer   NOT NULL,
    during          tstzrange NOT NULL,
    CONSTRAINT subscription_metrics_pkey PRIMARY KEY (subscription_id, metric_no, during),
    CONSTRAINT subscription_metrics_subscription
        FOREIGN KEY (subscription_id) REFERENCES subscriptions,
    CONSTRAINT metric_priced_once EXCLUDE USING gist (
        int4range(customer_no, customer_no, '[]') WITH &&,
        int4range(metric_no, metric_no, '[]') WITH &&,
        during WITH &&
    )
);
