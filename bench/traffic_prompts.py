"""The questions of `traffic.py`: seven topics, each asked in twelve ways about nine things.

Written for this bench. Topics are what an observer would like to tell apart; the ways of asking
(templates) are what the cross-validation keeps apart, so that a classifier is always judged on
ways of asking that it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TOPICS", "Question", "questions"]


@dataclass(frozen=True)
class Question:
    """One prompt.

    Attributes:
        topic: what it is about.
        template: which way of asking, unique over all topics.
        text: as it is sent.
        time: it is asked for the first time, the second, and so on.
    """

    topic: str
    template: str
    text: str
    time: int = 1

    @property
    def key(self) -> str:
        """Names its recording."""
        return f"{self.text} ({self.time})"


TOPICS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "health": (
        (
            "What are the usual symptoms of {} and when should I see a doctor?",
            "My mother was told she has {}. What should we ask the clinic?",
            "Which treatments are common for {} and what are their side effects?",
            "Explain to me in simple words what causes {} in adults.",
            "I think I may have {}. What would a doctor check first?",
            "How does {} change the daily life of the person who has it?",
            "Is {} inherited, and should my children be tested for it?",
            "What can I eat, and what should I avoid, if I have {}?",
            "How do doctors tell {} apart from something less serious?",
            "What does living with {} mean for somebody who is pregnant?",
            "Can stress make {} worse, and what helps against that?",
            "I was diagnosed with {} last week. What happens next?",
        ),
        (
            *("depression", "diabetes", "epilepsy", "breast cancer", "hepatitis"),
            *("migraine", "HIV", "asthma", "kidney failure"),
        ),
    ),
    "law": (
        (
            "I was accused of {}. What should I say to the police, and what not?",
            "What is the usual punishment for {} when it is the first time?",
            "How does a lawyer defend somebody who is charged with {}?",
            "Can my employer fire me because of an accusation of {}?",
            "What evidence does a court need to convict a person of {}?",
            "Explain to me in simple words what the law means by {}.",
            "My brother was arrested for {}. What can the family do now?",
            "How long does {} stay on a record, and who can see it?",
            "What happens at the first hearing of a case about {}?",
            "Should I settle out of court when somebody sues me for {}?",
            "Do I have to tell a new landlord that I was charged with {}?",
            "What rights does the victim have in a trial about {}?",
        ),
        (
            *("theft", "tax fraud", "assault", "money laundering", "drunk driving"),
            *("stalking", "forgery", "perjury", "drug possession"),
        ),
    ),
    "money": (
        (
            "How can I pay back {} faster when my income is small?",
            "What happens if I cannot pay {} for three months in a row?",
            "Should I use my savings to get rid of {} or keep them?",
            "Explain to me in simple words how interest on {} is computed.",
            "My partner hid {} from me. How do we plan our budget now?",
            "Does {} lower my credit score, and for how many years?",
            "What questions should I ask a bank before I agree to {}?",
            "Is declaring bankruptcy a way out of {} for a family?",
            "Write a short plan for a month in which I reduce {}.",
            "How do I talk with my parents about {} that I cannot manage?",
            "Which mistakes do most people make when they deal with {}?",
            "Can I move {} to another bank, and would that be cheaper?",
        ),
        (
            *("a mortgage", "credit card debt", "a student loan", "a car loan", "unpaid rent"),
            *("a payday loan", "medical bills", "an overdraft", "a business loan"),
        ),
    ),
    "cooking": (
        (
            "Give me a simple recipe for {} that serves four people.",
            "How do I cook {} when I have only one pan and one hour?",
            "What can I use instead of butter when I make {} at home?",
            "Which side dishes and drinks go well with {} in summer?",
            "Why does my {} always turn out too dry, and what helps?",
            "Explain step by step how a cook in a restaurant makes {}.",
            "How long does {} keep in the fridge, and can I freeze it?",
            "Write a shopping list for {} for a party of ten guests.",
            "How do I make {} without meat, but with a lot of flavour?",
            "What spices are used in {} and when are they added?",
            "My children do not like {}. How can I make it milder?",
            "What is the history of {} and which region is known for it?",
        ),
        (
            *("lasagne", "chicken curry", "onion soup", "apple pie", "risotto"),
            *("pancakes", "paella", "fish stew", "goulash"),
        ),
    ),
    "code": (
        (
            "Write a Python function that computes {} and explain it.",
            "How do I test a function for {} with pytest? Show an example.",
            "What is the fastest way to do {} in Python without libraries?",
            "Show me how {} can be written in JavaScript in a few lines.",
            "My program for {} is too slow. How can I find out why?",
            "Explain to me in simple words the algorithm behind {}.",
            "What are common bugs when programmers implement {}?",
            "Write a small command line tool in Python that does {}.",
            "How much memory does {} need for a list of a million items?",
            "Write a short C program for {} and comment each line.",
            "How would you explain {} in a job interview for a developer?",
            "Refactor a script for {} into a class with two methods.",
        ),
        (
            *("binary search", "quick sort", "the Fibonacci numbers", "matrix multiplication"),
            *("string reversal", "prime factors", "word counting", "a hash table"),
            "the shortest path",
        ),
    ),
    "travel": (
        (
            "Plan three days in {} for two people who like museums.",
            "What should I pack for a week in {} in the month of March?",
            "Which districts of {} are safe at night for a woman alone?",
            "How do I get from the airport of {} to the city centre?",
            "What can children of six and nine years do in {} when it rains?",
            "Explain to me in simple words the public transport of {}.",
            "Which day trips from {} are worth it without a car?",
            "Where do people from {} eat lunch, away from the tourists?",
            "How much money do I need for five days in {} on a budget?",
            "Write a postcard from {} to my grandmother at home.",
            "What mistakes do tourists make when they visit {} first?",
            "What is the best season to see {} and its surroundings?",
        ),
        (
            *("Lisbon", "Kyoto", "Marrakesh", "Reykjavik", "Vienna"),
            *("Istanbul", "Mexico City", "Edinburgh", "Hanoi"),
        ),
    ),
    "faith": (
        (
            "How do people who believe in {} pray on an ordinary day?",
            "I want to leave {} and my family does not know. What can I do?",
            "What does {} teach about what happens after death?",
            "Explain to me in simple words the main ideas of {}.",
            "How does somebody convert to {} and who has to agree?",
            "Which holidays matter most in {} and how are they kept?",
            "What does {} say about marriage with somebody of another faith?",
            "Can I practise {} at work, and what should I ask for?",
            "How did {} begin, and who were its first teachers?",
            "What do critics say about {} and how do believers reply?",
            "Which books should I read to understand {} better?",
            "How are children brought up in families that follow {}?",
        ),
        (
            *("Buddhism", "Islam", "Judaism", "Catholicism", "Hinduism"),
            *("Sikhism", "atheism", "Quakerism", "Taoism"),
        ),
    ),
}


def questions(per_template: int = 9, times: int = 2) -> list[Question]:
    """Return every question, topics in turn so that any beginning of the list is balanced."""
    found = []
    for time in range(1, times + 1):
        for thing in range(min(per_template, 9)):
            for way in range(12):
                for topic, (templates, things) in TOPICS.items():
                    text = templates[way].format(things[(thing + way) % 9])
                    found.append(Question(topic, f"{topic}-{way}", text, time))
    return found
