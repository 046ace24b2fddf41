"""As soluções dos exercícios: cada uma faz o que o exercício pede, contra o projeto de verdade."""

import contextlib
import importlib
import io
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from participante import FECHOU, PRAZO
from test_protocolo import CASOS, DO_SERVIDOR, cortar

import filas
import servidor as modulo
from protocolo import Aviso, Entrada, Fim, Json, LinhaLonga, Mensagem, Texto, Tipo

DOCS = Path(__file__).parent.parent / "docs"
NOSSAS = DOCS / "solucoes"
SOLUCOES = Path(os.environ.get("FILA_SOLUCOES") or NOSSAS).resolve()  # as de quem estuda, se ele disser onde estão


@pytest.fixture(autouse=True)
def na_pasta(monkeypatch):
    """As soluções se importam pelo nome, e o que mudam no caminho de busca é desfeito."""
    monkeypatch.syspath_prepend(str(SOLUCOES))


def solucao(nome):
    return importlib.import_module(nome)


@contextlib.contextmanager
def em_thread(alvo, *args):
    """Roda `alvo` noutra thread, e espera que acabe."""
    thread = threading.Thread(target=alvo, args=args)
    thread.start()
    yield thread
    thread.join(PRAZO)
    assert not thread.is_alive()


def test_cada_exercicio_tem_a_sua_solucao_e_o_seu_teste():
    """Os exercícios são ao menos doze, e cada um aponta um arquivo que existe e um teste que existe."""
    texto = (DOCS / "exercicios.md").read_text(encoding="utf-8")
    exercicios = re.split(r"^## \d+\. ", texto, flags=re.MULTILINE)[1:]
    assert len(exercicios) >= 12
    citados, niveis = [], []
    for exercicio in exercicios:
        assert all(f"**{parte}**" in exercicio for parte in ("Objetivo.", "Arquivos.", "Como saber que acertou."))
        (nivel,) = re.findall(r"^\*\*Nível\.\*\* (fácil|médio|difícil|desafio), cerca de .*\.$", exercicio, re.MULTILINE)
        (arquivo,) = re.findall(r"\[solução\]\(solucoes/(s\d\d_\w+\.py)\)", exercicio)
        como_saber = exercicio.partition("**Como saber que acertou.**")[2]
        assert f"`python -m pytest tests/test_solucoes.py -k {arquivo[:3]}`" in como_saber
        assert f"`{arquivo}`" in como_saber
        assert (NOSSAS / arquivo).exists()
        citados.append(arquivo)
        niveis.append(nivel)
    assert niveis == sorted(niveis, key=["fácil", "médio", "difícil", "desafio"].index)
    assert citados == sorted(arquivo.name for arquivo in NOSSAS.glob("s*.py"))
    assert {f"test_{arquivo[:3]}" for arquivo in citados} == {nome[:8] for nome in globals() if re.match(r"test_s\d", nome)}


def test_s01_nc(servidor):
    """O que se digita chega ao servidor, e o que ele diz aparece, até o fim da conversa."""
    ana = servidor.atendente("Ana", "FILA:OK")
    comando = [sys.executable, str(SOLUCOES / "s01_nc.py"), *map(str, servidor.endereco)]
    with subprocess.Popen(comando, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as programa:
        programa.stdin.write("CLIENTE\nYuri\nolá\n".encode())
        programa.stdin.close()
        ana.espera("CONECTADO:Yuri", "[Yuri]: olá")
        assert programa.stdout.read().decode() == "NOME:\nCONECTADO:Ana\n"
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.")


# O projeto também limpa o texto; estes casos são só de enquadramento.
SEM_LIMPEZA = {
    nome: caso
    for nome, caso in CASOS.items()
    if not re.search("controle|escape|tab|unicode|bidi|cr-|so-espacos", nome)
}


@pytest.mark.parametrize("tamanho", [1, 5, 4096])
@pytest.mark.parametrize("dados, esperado", SEM_LIMPEZA.values(), ids=SEM_LIMPEZA)
def test_s02_separador(dados, esperado, tamanho):
    """As mesmas linhas, venham os bytes em pedaços de que tamanho vierem."""
    separador = solucao("s02_separador").Separador()
    assert [linha for pedaco in cortar(dados, tamanho) for linha in separador.alimentar(pedaco)] == esperado
    assert len(separador.resto) < 4096


def test_s03_robo(abrir_servidor):
    """O robô cumprimenta, responde, encerra quando se despedem dele e atende o seguinte."""
    servidor = abrir_servidor(departamentos=("Vendas",))
    with contextlib.closing(socket.create_connection(servidor.endereco)) as sock:
        with em_thread(solucao("s03_robo").atender, sock):
            for nome in ("Yuri", "Bia"):
                cliente = servidor.conecta(nome)
                cliente.envia("CLIENTE:Vendas", nome)
                cliente.le_ate(f"[Robô]: Olá, {nome}! Sou um robô.")
                cliente.envia("qual o HORÁRIO?", "e o clima?", "tchau")
                cliente.espera("[Robô]: Atendemos das 8h às 18h.")
                cliente.espera("[Robô]: Não entendi. Posso falar de horário ou preço.")
                cliente.espera("FIM:Atendimento encerrado. O atendente Robô encerrou a conversa.", FECHOU)
            # Só a escrita: o `FILA:OK` que ainda vem, achando a leitura fechada, viraria um RST.
            sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("nodelay", [False, True])
def test_s04_ida_e_volta(nodelay):
    """Mede-se cada mensagem, e todas voltam inteiras; quanto levam não é assunto de teste."""
    tempos = solucao("s04_ida_e_volta").ida_e_volta(3, nodelay)
    assert len(tempos) == 3 and all(tempo > 0 for tempo in tempos)


def test_s05_comando_novo(servidor, monkeypatch):
    """`HORA:` é respondido com um aviso, não vira mensagem, e o resto continua igual."""
    comando_novo = solucao("s05_comando_novo")
    monkeypatch.setattr(Texto, "_PEDIDOS", comando_novo.FORMAS_NO_FIO)
    monkeypatch.setattr(modulo, "FATOS", comando_novo.FATOS)
    yuri, ana = servidor.par()
    yuri.envia("HORA:", "HORA: extra")
    assert re.fullmatch(r"AVISO:São \d\dh\d\d\.", yuri.linha())
    ana.espera("[Yuri]: HORA: extra")


def chegar(as_filas, nome, tipo=Tipo.CLIENTE):
    eu = filas.Participante()
    as_filas.admitir(eu)
    as_filas.entrar(eu, tipo, nome)
    return eu


def test_s06_prioridade():
    """O prioritário passa à frente dos outros, atrás dos prioritários, e todos sabem a sua posição."""
    classe = solucao("s06_prioridade").FilasComPrioridade
    as_filas = classe(prioritario=lambda cliente: cliente.nome.startswith("Dona"))
    todos = [chegar(as_filas, nome) for nome in ("Yuri", "Dona Rosa", "Bia", "Dona Lia")]
    assert [cliente.nome for cliente in as_filas.fila_clientes] == ["Dona Rosa", "Dona Lia", "Yuri", "Bia"]
    as_filas.publicar_posicoes()
    ultimas = [as_filas.recolher(cliente)[0].decode().splitlines()[-1] for cliente in todos]
    assert ultimas == ["FILA:3", "FILA:1", "FILA:4", "FILA:2"]
    ana = chegar(as_filas, "Ana", Tipo.ATENDENTE)
    assert as_filas.user_states[ana].par.nome == "Dona Rosa"


def test_s07_limite():
    """Passa o que cabe no balde, o resto é recusado, e com o tempo volta a caber."""
    limite = solucao("s07_limite")
    agora = [0.0]
    cumpridos = []
    as_filas = limite.FilasComLimite(
        balde=lambda: limite.Balde(3, 1.0, lambda: agora[0]), cumprir=lambda efeito, eu: cumpridos.append((*efeito.destinos, eu))
    )
    ana, yuri = chegar(as_filas, "Ana", Tipo.ATENDENTE), chegar(as_filas, "Yuri")
    as_filas.recolher(ana), as_filas.recolher(yuri)
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", list("abcde"))) is ana
    assert cumpridos == [(yuri, yuri)]
    assert as_filas.recolher(ana)[0].decode() == "[Yuri]: a\n[Yuri]: b\n[Yuri]: c\n"
    assert as_filas.recolher(yuri)[0].decode() == "AVISO:Devagar: a mensagem não foi enviada.\n"
    agora[0] = 1.5
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", ["f"])) is ana
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", ["g"])) is None
    assert cumpridos == [(yuri, yuri)] * 2
    agora[0] = 1000.0
    assert as_filas.repassar_chat(yuri, Mensagem("Yuri", list("hij"))) is ana
    as_filas.sair(yuri)
    assert not as_filas.baldes


def test_s07_limite_num_servidor(servidor):
    """Do que veio num pedaço só, o par lê já a parte que passou, e quem falou lê já que o resto não passou."""
    limite = solucao("s07_limite")
    servidor.filas = limite.FilasComLimite(balde=lambda: limite.Balde(3, 1.0, lambda: 0.0), cumprir=servidor.cumprir)
    yuri, ana = servidor.par()
    yuri.envia(*"abcde")
    ana.espera("[Yuri]: a", "[Yuri]: b", "[Yuri]: c")
    yuri.espera("AVISO:Devagar: a mensagem não foi enviada.")


def test_s08_proxy(servidor):
    """O proxy deixa passar tudo nos dois sentidos, também o fim do fluxo, e vê cada pedaço."""
    visto = {"->": b"", "<-": b""}

    def ver(sentido, dados):
        visto[sentido] += dados

    with solucao("s08_proxy").Proxy(0, servidor.endereco[:2], ver) as proxy, em_thread(proxy.serve_forever, 0.005):
        direto = servidor.endereco
        servidor.endereco = proxy.server_address
        yuri = servidor.cliente("Yuri", "FILA:1")
        servidor.endereco = direto
        ana = servidor.atendente("Ana", "CONECTADO:Yuri")
        yuri.envia("olá")
        ana.espera("[Yuri]: olá")
        yuri.espera("CONECTADO:Ana")
        yuri.para_de_escrever()
        ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.")
        yuri.espera(FECHOU)
        proxy.shutdown()
    assert visto["->"] == "CLIENTE\nYuri\nolá\n".encode()
    assert visto["<-"] == b"NOME:\nFILA:1\nCONECTADO:Ana\n"


def test_s08_proxy_que_perde_um_lado():
    """O lado que cai leva o outro consigo, ainda que a outra bomba esteja parada no `recv`."""

    def caiu(dados):
        raise ConnectionResetError

    with contextlib.ExitStack() as pilha:
        (cliente, de), (para, destino) = (map(pilha.enter_context, socket.socketpair()) for _ in range(2))
        # Um `recv` parado é outra referência ao socket: enquanto houver uma, `close` não diz nada a ninguém.
        for parado in de, para:
            pilha.enter_context(parado.dup())
        cliente.send(b"x")
        solucao("s08_proxy").bombear(de, para, caiu)
        for lado in cliente, destino:
            lado.settimeout(PRAZO)
            assert lado.recv(1) == b""


def test_s09_formato_csv(abrir_servidor, monkeypatch):
    """O que se codifica é o que se lê, e uma conexão no formato novo conversa com uma em texto."""
    nova = solucao("s09_formato_csv")
    formato = nova.Virgulas
    for comando, _ in DO_SERVIDOR.values():
        linhas = formato("Yuri").codificar(comando).decode().split("\n")[:-1]
        assert formato().ler_servidor(linhas) == [comando]
    assert formato("Y").ler_participante(['mensagem,"a, ""b"""', "mensagem, ", "", "  ", "fim", "x,y", None]) == [
        Mensagem("Y", ['a, "b"']),
        Fim(),
        Aviso("Não entendi: x,y"),
        LinhaLonga(),
    ]
    assert formato().ler_entrada("cliente") == Entrada(Tipo.CLIENTE)
    with pytest.raises(ValueError, match="Resposta inválida"):
        formato().ler_resposta("nome", "")
    for inicio, esperado in (b"c", formato), (b"atendente\n", formato), (b"C", Texto), (b"{", Json):
        assert type(nova.formato_de(inicio)) is esperado
    monkeypatch.setattr(modulo, "formato_de", nova.formato_de)
    servidor = abrir_servidor()
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.conecta("Yuri")
    yuri.envia("cliente", "nome,Yuri", 'mensagem,"oi, tudo?"')
    yuri.espera("nome", "conectado,Ana")
    ana.espera("CONECTADO:Yuri", "[Yuri]: oi, tudo?")
    ana.envia("tudo, e você?")
    yuri.espera('mensagem,Ana,"tudo, e você?"')


def test_s10_achar_o_defeito(monkeypatch):
    """O explorador conta como se chega ao defeito, e não vê nenhum onde não há."""
    monkeypatch.setattr(filas, "MAXIMO_GUARDADO", 1)
    defeito = solucao("s10_achar_o_defeito")
    queixa, historia = defeito.historia_do_defeito(defeito.FilasComDefeito()).split("\n")
    assert queixa.startswith("espera: ") and "entrar" in historia
    assert defeito.historia_do_defeito(filas.Filas()) is None


def test_s11_ler_o_registro():
    """As conversas são reconstruídas, com a duração das que acabaram; a linha partida não atrapalha."""
    registro = solucao("s11_ler_o_registro")
    conversas = registro.ler(
        io.StringIO(
            "momento,conversa,departamento,evento,de,para,texto\n"
            "2026-11-24T10:00:00.000-03:00,x-1,Vendas,inicio,Yuri,Ana,\n"
            '2026-11-24T10:00:01.000-03:00,x-1,Vendas,mensagem,Yuri,Ana,"oi, tudo?"\n'
            "2026-11-24T10:00:05.000-03:00,x-2,Vendas,inicio,Bia,Caio,\n"
            "2026-11-24T10:01:30.500-03:00,x-1,Vendas,fim,Ana,Yuri,O atendente Ana encerrou a conversa.\n"
            "2026-11-24T10:02:00.000-03:00,x-2,Ven\n"
        )
    )
    primeira, segunda = conversas.values()
    assert (primeira.cliente, primeira.atendente, primeira.segundos) == ("Yuri", "Ana", 90.5)
    assert primeira.falas == [("Yuri", "oi, tudo?")]
    assert segunda.segundos is None
    assert registro.medias(conversas.values()) == {"Vendas": 90.5}


def test_s12_uma_thread_so():
    """Com uma thread só, a mesma conversa: identificação, fila, mensagens aos pedaços e fim."""
    from participante import Anfitriao

    de_um_so = solucao("s12_uma_thread_so").Servidor(0)
    de_um_so.aceitar(0)  # ninguém: quem o select anunciou pode desistir antes do accept
    with em_thread(de_um_so.servir):
        sala = Anfitriao(de_um_so.ouvinte.getsockname())
        yuri, bia = sala.cliente("Yuri", "FILA:1"), sala.cliente("Bia", "FILA:2")
        ana = sala.atendente("Ana", "CONECTADO:Yuri")
        yuri.espera("CONECTADO:Ana")
        bia.espera("FILA:1")
        for byte in "olá 😀\n".encode():
            yuri.envia(bytes([byte]))
        ana.espera("[Yuri]: olá 😀")
        ana.envia("x" * 5000, "FIM:")
        ana.espera("AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada.")
        ana.espera("FIM:Atendimento encerrado. Você encerrou a conversa.", "CONECTADO:Bia")
        yuri.espera("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.", FECHOU)
        ana.fecha()
        bia.espera("CONECTADO:Ana", "FIM:Atendimento encerrado. O atendente Ana desconectou.", FECHOU)
        invalido = sala.conecta()
        invalido.envia("GERENTE")
        invalido.espera("FIM:Tipo inválido: envie CLIENTE ou ATENDENTE.", FECHOU)
        de_um_so.parar()
    sala.fecha_participantes()


@pytest.mark.parametrize("ataque", ["linha_sem_fim", "mudo", "enxurrada_de_conexoes", "impostor", "json_fundo"])
def test_s13_ataques(abrir_servidor, ataque):
    """Durante e depois do ataque, quem conversa não percebe."""
    servidor = abrir_servidor(prazo_identificacao=0.2, prazo_envio=0.3)
    yuri, ana = servidor.par()
    with em_thread(getattr(solucao("s13_ataques"), ataque), servidor.endereco[:2]):
        for numero in range(200):
            yuri.envia(f"{numero}")
            ana.espera(f"[Yuri]: {numero}")
    yuri.envia("depois")
    ana.espera("[Yuri]: depois")
