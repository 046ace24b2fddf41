"""Quem é: o que o programa responde ao servidor antes da conversa, com o que se sabe ou com o que a pessoa digita."""

import contextlib
import io
import re
import socket
import sys

import pytest
from conferidor.regras import NOME_INVALIDO
from participante import PRAZO
from test_protocolo import casos
from test_servidor import ESGOTADO, LOTADO

from atendente import Atendente
from atendimento.carteiro import Carteiro
from atendimento.identificacao import Identificacao
from atendimento.opcoes import ler_opcoes_da_conversa
from atendimento.perguntas import PERGUNTAS, Perguntas
from cliente import Cliente, main
from protocolo import Tipo


class Pessoa:
    """No lugar da tela, quem lê o que o programa diz e responde ao que ele pergunta."""

    ha_pessoa = True

    def __init__(self, respostas):
        self.respostas = iter(respostas)
        self.leu = []  # perguntas inclusive

    def mostrar(self, texto, cor=None):
        self.leu.append(texto)

    def perguntar(self, pergunta, oculta=False, opcoes=()):
        self.leu.append(pergunta)
        self.opcoes = opcoes  # o que TAB completa
        return next(self.respostas)


@pytest.fixture
def digitar(monkeypatch):
    """A linha de comando que se digitou, e o que está na variável da senha; teclado não há."""

    def digitar(endereco, opcoes="", senha=""):
        host, porta = endereco
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        monkeypatch.setattr(sys, "argv", ["programa.py", "--host", host, "--porta", str(porta), *opcoes.split()])
        monkeypatch.setenv("FILA_SENHA", senha)

    return digitar


@pytest.fixture
def entrar(digitar):
    """Alguém abre o programa, responde ao que ele pergunta e, mal entra na fila, sai: se entrou, e o que leu."""

    def entrar(programa, *linha, respostas=()):
        digitar(*linha)
        pessoa = Pessoa(respostas)
        alguem = programa(pessoa, ler_opcoes_da_conversa("", ""))
        try:
            return alguem.entrar(), pessoa.leu
        finally:
            alguem.sock.close()

    return entrar


# --- O que se pergunta ----------------------------------------------------------------------------


@pytest.mark.parametrize("tipo", Tipo)
def test_nome_invalido(tipo):
    """A pergunta se repete até o nome servir."""
    pessoa, pergunta = Pessoa(["a[b]", "   ", "x" * 41, " Yuri "]), PERGUNTAS[tipo]["nome"]
    assert Perguntas(pessoa, tipo, None).responder("nome", ()) == "Yuri"
    assert pessoa.leu == [pergunta, NOME_INVALIDO[4:]] * 3 + [pergunta]


DO_CLIENTE = {"2": "2", "1": "2", " VENDAS": "Vendas"}
DO_ATENDENTE = {"1, vendas": "2,Vendas", "": "*", "vendas": "Vendas"}


@casos(
    "tipo, pergunta, erradas, certas",
    {
        "cliente": (Tipo.CLIENTE, "Departamento (número ou nome): ", ["3", "Nada", "1,2", ""], DO_CLIENTE),
        "atendente": (
            Tipo.ATENDENTE,
            "Departamentos (números ou nomes, com vírgulas; Enter para todos): ",
            ["0", "1, Nada", "1,,2", "-1"],
            DO_ATENDENTE,
        ),
    },
)
def test_departamento(tipo, pergunta, erradas, certas):
    """Valem o nome e o número, nesta ordem, e ao atendente vários, ou todos; o que não serve é perguntado de novo."""
    aviso = "Departamento inválido: escolha entre 2, Vendas."
    for certa, resposta in certas.items():
        pessoa = Pessoa([*erradas, certa])
        assert Perguntas(pessoa, tipo, "Yuri").responder("departamento", ["2", "Vendas"]) == resposta
        assert pessoa.leu == ["  1. 2\n  2. Vendas", *[pergunta, aviso] * len(erradas), pergunta]
        assert pessoa.opcoes == ["2", "Vendas"]


def test_o_que_nao_se_esperava_que_perguntassem(monkeypatch):
    """Pergunta-se à pessoa pelo nome do campo."""
    monkeypatch.delenv("FILA_SENHA", raising=False)
    pessoa = Pessoa(["segredo"])
    assert Perguntas(pessoa, Tipo.CLIENTE, "Yuri").responder("senha", ()) == "segredo"
    assert pessoa.leu == ["senha: "]


def test_opcao_departamento(abrir_servidor, digitar, entrar, capsys):
    """Com a opção não há pergunta; o que o servidor não tem ele recusa antes do nome, e o programa sai com código 1."""
    onde = abrir_servidor(departamentos=("Vendas", "Suporte")).endereco
    recusa = "*** Departamento inválido: escolha entre Vendas, Suporte. ***"
    digitar(onde, "--departamento Vendas,Nada")
    assert (main(Atendente), capsys.readouterr().out) == (1, f"{recusa}\n")
    assert entrar(Atendente, onde, "--nome Ana --departamento vendas,SUPORTE") == (True, [])
    assert entrar(Cliente, onde, "--nome Yuri --departamento suporte") == (True, [])


@casos(
    "variavel, respostas, entrou, leu",
    {
        "certa": ("", ["segredo"], True, "P"),
        "na-terceira": ("", ["um", "dois", "segredo"], True, "PRPRP"),
        "nunca": ("", ["um", "dois", "três"], False, "PRPRPR"),
        "na-variavel": ("seg\x01redo", [], True, ""),
        "errada-na-variavel": ("um", [], False, "R"),
    },
)
def test_senha(abrir_servidor, entrar, variavel, respostas, entrou, leu):
    """A errada se pergunta de novo, até três vezes; a da variável vai sem pergunta, e uma vez só."""
    onde = abrir_servidor(senha="segredo").endereco
    frases = {"P": PERGUNTAS[Tipo.ATENDENTE]["senha"], "R": "*** Senha incorreta. ***"}
    esperado = entrou, [frases[letra] for letra in leu]
    assert entrar(Atendente, onde, "--nome Ana", variavel, respostas=respostas) == esperado


def test_pensar_muito_no_nome(abrir_servidor, entrar, monkeypatch):
    """Se o prazo venceu enquanto se pensava, o programa reconecta e se identifica."""
    monkeypatch.setattr(Carteiro, "DESPEDIDA", 0.1)
    servidor, prazos, perguntar = abrir_servidor(), iter([0.1, PRAZO]), Identificacao._perguntar

    def perguntar_com_pressa(identificacao, *args):
        servidor.prazo_identificacao = next(prazos)
        return perguntar(identificacao, *args)

    def pensar():
        servidor.espera_que_fechem(servidor.aceitas[0])
        servidor.prazo_identificacao = PRAZO
        yield "Yuri"

    monkeypatch.setattr(Identificacao, "_perguntar", perguntar_com_pressa)
    assert entrar(Cliente, servidor.endereco, respostas=pensar()) == (True, [PERGUNTAS[Tipo.CLIENTE]["nome"]])


# --- Do outro lado não está o que se esperava -----------------------------------------------------


@pytest.fixture
def entrar_num_impostor(entrar):
    """Alguém entra num servidor que só tem uma coisa a dizer, se tem: se entrou, o que leu, e o que disse."""
    with contextlib.ExitStack() as pilha:
        try:
            ouvinte = socket.create_server(("127.0.0.2", 0))
        except OSError:  # esta máquina só tem o 127.0.0.1
            ouvinte = socket.create_server(("127.0.0.1", 0))
        pilha.enter_context(ouvinte)

        def entrar_num_impostor(programa, resposta, opcoes=""):
            class Enganado(programa):
                PRIMEIRA_RESPOSTA_EM = 0.1 if resposta is None else PRAZO

                def conectar(self):
                    super().conectar()
                    outros.append(pilha.enter_context(ouvinte.accept()[0]))
                    if resposta is not None:
                        outros[0].sendall(resposta.encode())
                        outros[0].shutdown(socket.SHUT_WR)

            outros = []
            return *entrar(Enganado, ouvinte.getsockname(), opcoes), outros[0].recv(4096).decode()

        yield entrar_num_impostor


@casos(
    "resposta, leu",
    {
        "recusa": (f"{LOTADO}\n", LOTADO[4:]),
        "prazo": (f"{ESGOTADO}\n", ESGOTADO[4:]),
        "outra-coisa": ("220 smtp.exemplo ESMTP\r\n", "Desconectado do servidor."),
        "fecha": ("", "Desconectado do servidor."),
        "nada": (None, "Nada respondeu em 0.1 s: não parece ser o servidor da fila."),
    },
)
def test_quem_nao_e_o_servidor_da_fila(entrar_num_impostor, resposta, leu):
    """Quem é recusado, ou abandonado, antes de dizer o nome sabe disso."""
    assert entrar_num_impostor(Cliente, resposta) == (False, [f"*** {leu} ***"], "CLIENTE\n")


@casos("programa, tipo", {"cliente": (Cliente, "cliente"), "atendente": (Atendente, "atendente")})
def test_opcao_json(entrar_num_impostor, programa, tipo):
    """Com a opção, o programa fala JSON desde a primeira linha."""
    assert entrar_num_impostor(programa, "", "--json")[2] == f'{{"comando":"{tipo}"}}\n'


def test_nao_ha_servidor(digitar):
    """O programa diz que ali não há servidor em stderr, com código 1."""
    with socket.socket() as surdo:
        surdo.bind(("127.0.0.1", 0))  # sem `listen`: a porta está ocupada, e recusa
        digitar(surdo.getsockname())
        onde = f"127.0.0.1, porta {surdo.getsockname()[1]}: a conexão foi recusada"
        frase = f"Não foi possível conectar ao servidor em {onde}. Verifique se ele está online."
        with pytest.raises(SystemExit, match=f"^{re.escape(frase)}$"):
            main()
