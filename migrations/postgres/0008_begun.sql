-- Whether an agent that put an order off said that rows may have been touched: what is untouched ends with its instruction.
ALTER TABLE executions ADD COLUMN begun BIGINT NOT NULL DEFAULT 0;
-- Nobody asked of those that were put off before.
UPDATE executions SET begun = 1 WHERE state = 'pending' AND attempt > 0;
