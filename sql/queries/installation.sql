-- name: get :one
-- params:
-- why: one row, made by its migration
SELECT installation_id FROM abaxus.installation;
